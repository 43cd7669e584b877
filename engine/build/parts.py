"""Wiring of all parts of the engine, in one place."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import torch

from engine.api.config import EngineConfig, ModelCard
from engine.api.errors import CheckpointError
from engine.api.observer import Observer
from engine.api.request import RECORDING_RATE, Reference, Sampling, SpeechRequest
from engine.build.codecs import make_cloner, make_decoder
from engine.build.devices import choose_devices, choose_dtype
from engine.checkpoint import hub
from engine.checkpoint.dummy import KINDS
from engine.checkpoint.shard import Shard
from engine.checkpoint.shared_weights import SharedCodecs
from engine.checkpoint.weights import Checkpoint, dummy_checkpoint, load_checkpoint
from engine.engine import Engine
from engine.model.predictor import Predictor
from engine.model.talker import ProjectedText, Talker, TextEmbedding
from engine.ops.base import new_caches
from engine.ops.peers import Peers
from engine.ops.select import choose
from engine.parallel.messages import Serve
from engine.parallel.team import Team
from engine.progress import Progress
from engine.prompt import prompt_tokens
from engine.prompt.builder import PromptBuilder
from engine.prompt.tokenizer import TextTokenizer
from engine.runner.codec import CodecStage
from engine.runner.eager import EagerRunner
from engine.runner.frame import FrameStage
from engine.runner.inputs import FIELDS
from engine.runner.passes import nobody, pass_sizes
from engine.runner.pipelined import PipelinedRunner
from engine.runner.prefill import PrefillStage
from engine.runner.slot_state import SlotState
from engine.scheduler.batch import Runner
from engine.scheduler.batch_builder import Limits
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.scheduler import Scheduler

CPU_CACHE_BYTES = 1 << 30
PREFILL_TOKENS = {
    "cuda": 256,
    "cpu": 64,
}  # a step: about 2 ms on a GPU, 20 ms of the embedded voice on two cores
POSITIONS_PER_SLOT = 4096  # average; more is never worth its memory


class Parts:
    """Slow parts of the engine, made off the event loop."""

    def __init__(self, model: str, config: EngineConfig, shared: SharedCodecs) -> None:
        self.config, self.shared = config, shared
        self.devices = choose_devices(config)
        self.device, self.ranks = self.devices[0], len(self.devices)
        self.dtype = choose_dtype(config.dtype, self.device)
        self.name = model.partition("@")[0].rstrip("/").rsplit("/", 1)[-1]
        self.team: Team | None = None  # where a talker is shared
        try:
            self._build(model)
        except BaseException:
            self.close()
            raise

    @torch.inference_mode()
    def _build(self, model: str) -> None:
        config = self.config
        self.checkpoint, self.tokenizer = self._load(model)
        self.least_free = sys.maxsize if self.team is None else self.team.loaded()
        self.fused = self.device.type == "cuda" and not config.reference_ops
        self.graphs = self.fused and config.cuda_graphs
        self.model_config = self.checkpoint.config
        self.talker = Shard(self.model_config.talker, 0, self.ranks).config
        self.ops = choose(config, self.talker, self.device, self.dtype)
        self.block_size = config.block_size or self.ops.block_size
        self.prefill_tokens = config.max_prefill_tokens or PREFILL_TOKENS[self.device.type]
        self.pool = BlockPool(self._capacity(), self.block_size)
        self.positions = min(self.model_config.max_positions, self.pool.capacity * self.block_size)
        self.codec = self._codec(config.max_speeches)
        self.text = self._text()
        self.prompt_builder = PromptBuilder(
            self.model_config, self.tokenizer, make_cloner(self.checkpoint, self.codec, self.name), self.positions
        )
        self.runner = self._runner()
        if self.team is not None:
            self.team.wait()

    def engine(self, observer: Observer) -> Engine:
        """Start the loop; to be called on it."""
        limits = Limits(
            slots=self.config.max_speeches,
            prefill_tokens=self.prefill_tokens,
            positions=self.positions,
            frames=int(self.config.max_audio_seconds / self.model_config.frame_seconds),
        )
        scheduler = Scheduler(limits, self.pool, observer)
        parts = self._card(), self.checkpoint.defaults, self.config, self.prompt_builder, scheduler, self.runner
        engine = Engine(*parts, observer, self.close)
        if self.team is not None:
            call = asyncio.get_running_loop().call_soon_threadsafe
            self.team.watch(lambda error: call(engine.fail, error))
        return engine

    def close(self) -> None:
        """End what runs in other processes; idempotent."""
        if self.team is not None:
            self.team.close()

    def warm_up_request(self) -> SpeechRequest:
        """Request of the kind that this checkpoint serves."""
        sampling = Sampling(max_frames=4, seed=0)
        request = SpeechRequest(request_id="warm-up", sampling=sampling)
        match self.model_config.kind:
            case "base":
                silence = torch.zeros(RECORDING_RATE).numpy()
                return replace(request, reference=Reference(silence, speaker_embedding_only=True))
            case "voice_design":
                return replace(request, instructions="A calm voice.")
            case "custom_voice":
                return request

    def _load(self, model: str) -> tuple[Checkpoint, TextTokenizer]:
        if self.config.dummy_weights:
            if model not in KINDS:
                raise CheckpointError(f"{model}: dummy weights come in the kinds {', '.join(KINDS)}")
            self._assemble(model)
            with Progress(f"making weights of {model}"):
                checkpoint, words = dummy_checkpoint(model, self.device, self.dtype, self.ranks)
            return checkpoint, TextTokenizer(words.entries, words.merges, self.config.tokenizer_split)
        folder = hub.checkpoint_folder(model)
        self.name = folder.resolve().name if Path(model).is_dir() else self.name
        tokenizer = TextTokenizer.load(folder, self.config.tokenizer_split)
        self._assemble(str(folder.resolve()))
        return load_checkpoint(folder, self.device, self.dtype, self.shared, self.ranks), tokenizer

    def _assemble(self, model: str) -> None:
        """Start the other ranks, which load their shards meanwhile."""
        if self.ranks > 1:
            self.team = Team(model, self.config, self.dtype, self.devices)

    def _capacity(self) -> int:
        """Blocks of the talker's cache."""
        if self.config.kv_blocks is not None:
            return self.config.kv_blocks
        talker = self.talker
        width = torch.empty((), dtype=self.dtype).element_size()
        block_bytes = 2 * talker.layers * talker.kv_heads * talker.head_dim * width * self.block_size
        wanted = self.config.max_speeches * POSITIONS_PER_SLOT // self.block_size
        return max(1, min(wanted, self._cache_bytes() // block_bytes))

    def _cache_bytes(self) -> int:
        if self.device.type != "cuda":
            return CPU_CACHE_BYTES
        free, _ = torch.cuda.mem_get_info(self.device)
        return min(free, self.least_free) // 2

    def _runner(self) -> Runner:
        config, weights, slots = self.model_config, self.checkpoint.main, self.config.max_speeches
        like = weights["talker.codec_head.weight"]
        state = SlotState(config, slots, self.pool.needed(self.positions), self.block_size, like)
        peers = self._peers(state)
        talker_cache = new_caches(self.talker, self.pool.capacity + 1, self.block_size, like)
        talker = Talker(config, weights, self.text, talker_cache, self.positions, self.ops, peers)
        predictor_cache = new_caches(config.predictor, slots, config.code_groups, like)
        predictor = Predictor(config, weights, predictor_cache, self.ops)
        frame = FrameStage(config, talker, predictor, state, self.ops)
        prefill = PrefillStage(talker, state)
        tell = nobody if self.team is None else self.team.tell
        if self.graphs:
            opened = None if peers is None else peers.open
            return PipelinedRunner(state, prefill, frame, self.codec, self.prefill_tokens, tell, opened)
        if peers is not None:
            peers.open()
        return EagerRunner(state, prefill, frame, self.codec, tell)

    def _peers(self, state: SlotState) -> Peers | None:
        """Those who share the talker, once they have met."""
        if self.team is None:
            return None
        slots, blocks = state.block_table.shape
        rows = pass_sizes(self.config.max_speeches, self.prefill_tokens, self.ops.one_attention)
        columns = FIELDS + self.model_config.code_groups
        return self.team.meet(
            Serve(
                blocks=self.pool.capacity + 1,
                block_size=self.block_size,
                slots=slots,
                slot_blocks=blocks,
                positions=self.positions,
                columns=columns,
                most_rows=max(sizes[-1] for sizes in rows.values()),
                words=max(self.talker.hidden, 2 * columns),
                rows=rows if self.graphs else None,
            )
        )

    def _codec(self, slots: int) -> CodecStage:
        decoder = self.shared.decoder(self.checkpoint.codec, lambda: make_decoder(self.checkpoint, self.fused))
        return CodecStage(decoder, slots, self.device)

    def _text(self) -> TextEmbedding:
        """Text embedding of the device.

        On a CPU it is projected for the tokens at hand; on a GPU once for all, where a launch costs more than memory.
        """
        projected = ProjectedText(self.checkpoint.main)
        return projected.table() if self.fused else projected

    def _card(self) -> ModelCard:
        config = self.model_config
        return ModelCard(
            name=self.name,
            kind=config.kind,
            languages=prompt_tokens.languages(config),
            voices=tuple(config.speakers),
            instructions=config.supports_instructions,
            description=f"{self.device}, {str(self.dtype).removeprefix('torch.')}, {self.ops.name} ops, "
            f"{self.ops.attention} attention"
            + (", graphs" if self.graphs else "")
            + (f", talker over {', '.join(map(str, self.devices))}" if self.ranks > 1 else ""),
            frame_samples=config.frame_samples,
            sample_rate=config.sample_rate,
            device=str(self.device),
        )
