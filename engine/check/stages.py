"""One speech through the language models, by any operations.

Without scheduler, batch or graphs: the stages are called row by row, with the codes given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.api.request import Sampling
from engine.api.types import Codes
from engine.check.probe import Half, Probe, Trace
from engine.checkpoint.weights import Checkpoint
from engine.model.predictor import Predictor
from engine.model.talker import ProjectedText, Talker, TextEmbedding
from engine.ops.base import Ops, new_caches
from engine.prompt.builder import PromptLayout
from engine.prompt.prompt_tokens import PromptToken
from engine.prompt.tokenizer import TextTokenizer
from engine.runner.frame import FrameStage
from engine.runner.inputs import pack_prefills, pack_rows
from engine.runner.prefill import PrefillStage
from engine.runner.slot_state import SlotState, pack_starts
from engine.scheduler.batch import DecodeRow, Prefill, SlotInit
from engine.scheduler.batch_builder import MIN_TOKENS
from engine.scheduler.segment import Segment

POSITIONS = 1024  # of one speech: its prompt, a recording's frames, its own


@dataclass(frozen=True, slots=True)
class Script:
    """Speech to be run.

    Prompt layout, text, sampling with its seed.
    `codes` (frames, code groups) are given to every run; None lets a run of `frames` draw its own.
    """

    name: str
    layout: PromptLayout
    tokenizer: TextTokenizer
    text: str
    sampling: Sampling
    codes: Codes | None
    frames: int

    def taught(self, codes: Codes) -> "Script":
        """The same speech with codes for every run."""
        return replace(self, codes=codes, frames=len(codes))


class Stages:
    """Language models of a checkpoint, for one speech.

    Talker, predictor.
    """

    @torch.inference_mode()
    def __init__(self, checkpoint: Checkpoint, ops: Ops, text: TextEmbedding | None = None) -> None:
        """`text`: the text embedding, the plain one if None."""
        config, weights = checkpoint.config, checkpoint.main
        like = weights["talker.codec_head.weight"]
        self.config, self.probe, self.device = config, Probe(ops), like.device
        self._size, blocks = ops.block_size, -(-POSITIONS // ops.block_size)
        self._state = SlotState(config, 1, blocks, ops.block_size, like)
        paged = new_caches(config.talker, blocks + 1, ops.block_size, like)
        talker = Talker(config, weights, text or ProjectedText(weights), paged, POSITIONS, self.probe)
        predictor = Predictor(config, weights, new_caches(config.predictor, 1, config.code_groups, like), self.probe)
        self.probe.watch(talker, predictor)
        self._prefill = PrefillStage(talker, self._state)
        self._frame = FrameStage(config, talker, predictor, self._state, self.probe)

    @torch.inference_mode()
    def run(self, script: Script, *, record: bool = False, forced: Sequence[Half] | None = None) -> Trace:
        """Trace of a speech.

        It ends after its codes, or, without codes, after its frames.
        """
        trace = self.probe.begin(record, forced)
        segment = Segment(script.layout, script.tokenizer, 0, 0)
        segment.append(script.text)
        segment.end(None, len(script.text))
        self._open(script, segment.inputs(0, segment.position))
        for codes in _given(script):
            self.probe.give(codes)
            drawn = self._next(script, segment)
            segment.frames.append(codes or drawn)
        return trace

    def _open(self, script: Script, prompt: Sequence[PromptToken]) -> None:
        sampling, vector = script.sampling, script.layout.voice.embedding
        assert sampling.seed is not None
        init = SlotInit(0, sampling, sampling.seed, vector, None, (), (), 0, ())
        self._state.load_vector(init)
        self._state.load(self._on_device(pack_starts([init])))
        blocks = [self._block(position) for position in range(len(prompt))]
        table = pack_prefills([Prefill(0, 0, prompt, blocks)], self.config.code_groups)
        self._prefill.forward(self._on_device(table))

    def _next(self, script: Script, segment: Segment) -> tuple[int, ...]:
        """Run the next frame.

        Return its codes as drawn or given.
        """
        index, greedy = segment.launched, script.sampling.greedy
        may_end = script.codes is not None and index >= MIN_TOKENS and (greedy or segment.text_consumed)
        row = DecodeRow(
            slot=0,
            position=segment.position,
            block=self._block(segment.position),
            text=segment.next_text(),
            codes=segment.last_codes(),
            index=index,
            frame=index,
            may_end=may_end,
        )
        segment.launched += 1
        frame = self._frame.forward(self._on_device(pack_rows([row], self.config.code_groups)))
        return tuple(frame[0, :-1].tolist())

    def _block(self, position: int) -> int:
        return 1 + position // self._size

    def _on_device(self, table: Any) -> Tensor:
        return torch.from_numpy(table).to(self.device)


def drawn_codes(trace: Trace, groups: int) -> Codes:
    """Codes (frames, groups) as a run drew them."""
    codes: Codes = torch.cat(trace.drawn).view(-1, groups).cpu().numpy().astype(np.int32)
    return codes


def _given(script: Script) -> Iterator[tuple[int, ...] | None]:
    if script.codes is None:
        yield from [None] * script.frames
    else:
        yield from map(tuple, script.codes.tolist())
