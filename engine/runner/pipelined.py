"""Pipelined runner: CUDA graphs, one step ahead of the results.

Audio is decoded beside the next frame.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.api.observer import StageTiming
from engine.api.types import Pcm
from engine.runner import nvtx
from engine.runner.codec import CodecStage
from engine.runner.cuda_graphs import Graphs, Output, Pool, build, sizes_up_to
from engine.runner.frame import FrameStage
from engine.runner.inputs import pack_prefills, pack_rows, padding
from engine.runner.pacer import StepPacer
from engine.runner.prefill import PrefillStage
from engine.runner.slot_state import RING, SlotState
from engine.scheduler.batch import NOTHING, Batch, Chunk, Prefill, StepOutput
from engine.scheduler.chunk_policy import SIZES, by_size

PREFILL_SIZES = (16, 32, 64, 128)
RIDING_SIZES = (
    16,
    32,
    64,
)  # prompt tokens of a frame's own pass; where there are more, reading weights twice is little
RIDDEN_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)  # rows of such a frame
STREAM_SIZES = (1, 2, 4, 8, 16, 32, 64)
DEPTH = 4  # sets of host buffers: the step being filled, the one in flight, two whose audio is still to be read


class StagingBuffer:
    """Pinned host memory for a table.

    Filled as an array, copied in one piece at the size of a graph.
    """

    def __init__(self, padding: Sequence[int], sizes: Sequence[int]) -> None:
        """`padding`: a row without effect; `sizes` ascend."""
        memory = torch.empty((sizes[-1], len(padding)), dtype=torch.int64, pin_memory=True)
        self._array, self._padding = memory.numpy(), np.array(padding, np.int64)
        self._pieces = {size: memory[:size] for size in sizes}

    def load(self, rows: npt.NDArray[np.int64], graphs: Graphs[Output]) -> None:
        """Copy `rows` (R, fields) to their graph's table.

        They are padded to the size of the graph.
        """
        count, size = len(rows), graphs.size(len(rows))
        self._array[:count] = rows
        self._array[count:size] = self._padding
        graphs.tables[size].copy_(self._pieces[size], non_blocking=True)


@dataclass(slots=True)
class StepBuffers:
    """Pinned host memory of one step, with its events."""

    tokens: StagingBuffer
    rows: StagingBuffer
    riding: dict[int, StagingBuffer]  # by prompt tokens: these, then rows
    chunks: dict[int, StagingBuffer]  # by chunk size: slot, first frame
    frames: Tensor  # (slots, code groups + 1) int32
    audio: Tensor  # (samples,) int16: one chunk after the other
    marks: list[torch.cuda.Event] = field(
        default_factory=lambda: [torch.cuda.Event(enable_timing=True) for _ in range(5)]
    )

    @property
    def framed(self) -> torch.cuda.Event:
        """Event at the end of the frames."""
        return self.marks[2]

    @property
    def decoded(self) -> torch.cuda.Event:
        """Event at the end of the audio."""
        return self.marks[4]


@dataclass(frozen=True, slots=True)
class Group:
    """One codec call.

    `members`: positions in the batch of its chunks; `audio`: the piece of the audio buffer (chunks, samples).
    """

    members: Sequence[int]
    audio: Tensor


@dataclass(frozen=True, slots=True)
class Launched:
    """A batch on the device since `at`.

    Its rows' graph has room for `riding` prompt tokens; `kind` determines its duration.
    """

    batch: Batch
    buffers: StepBuffers
    riding: int
    groups: Sequence[Group]
    kind: tuple[int, int]
    at: float


class PipelinedRunner:
    """Runner of captured graphs, on the device thread.

    Everything is captured when it is built; afterwards a step launches graphs and copies, and allocates nothing.
    """

    @torch.inference_mode()
    def __init__(
        self, state: SlotState, prefill: PrefillStage, frame: FrameStage, codec: CodecStage, tokens: int
    ) -> None:
        """`tokens`: the most prompt tokens of a step."""
        self._state, self._frame, self._codec = state, frame, codec
        self._device, self._groups = state.codes.device, state.codes.shape[1]
        self._main, self._side = torch.cuda.Stream(self._device), torch.cuda.Stream(self._device)
        self._padding = padding(state.dummy, self._groups)
        pool = torch.cuda.graph_pool_handle()
        rows = self._padded(state.dummy)
        self._frames = Graphs(frame.forward, rows, sizes_up_to(state.dummy), pool)
        prompt = self._padded(tokens)
        self._prefill = Graphs(prefill.forward, prompt, sizes_up_to(tokens, PREFILL_SIZES), pool)
        self._riding = self._riding_graphs(tokens, pool)
        self._decoders = self._codec_graphs()
        build([self._frames, self._prefill, *self._riding.values(), *self._decoders.values()])
        self._buffers = cycle([self._new_buffers() for _ in range(DEPTH)])
        self._in_flight: Launched | None = None
        self._read: Launched | None = None  # the step whose frames were read last
        self._pacer = StepPacer()

    @torch.inference_mode()
    def step(self, batch: Batch) -> StepOutput:
        """Launch `batch`; return the output of the one before.

        An empty batch launches nothing.
        """
        with torch.cuda.device(self._device):
            launched = None if batch.empty else self._launch(batch)
            before, self._in_flight = self._in_flight, launched
            self._read = before
            return NOTHING if before is None else self._output(before)

    # ---- launch

    def _launch(self, batch: Batch) -> Launched:
        """Launch all stages of a batch.

        The prompts go first: while the device reads them, the host has time for all else.
        """
        buffers = next(self._buffers)
        start, filled, framed, decoding, decoded = buffers.marks
        with torch.cuda.stream(self._main):
            if self._read is not None:  # slots and rings that its audio came from may be written again from here on
                self._main.wait_event(self._read.buffers.decoded)
            start.record()
            for init in batch.inits:
                self._state.load_prompt_inputs(init)
            riding = self._riding_size(batch)
            with nvtx.stage("prefill"):
                self._run_prefill([] if riding else batch.prefills, buffers)
            filled.record()
            for init in batch.inits:
                self._state.load_sampling_params(init)
            with nvtx.stage("frame"):
                self._run_rows(batch, riding, buffers)
            framed.record()
            if self._in_flight is not None:
                self._pacer.record_launch(underran=self._in_flight.buffers.framed.query())
            at = time.monotonic()
        with torch.cuda.stream(self._side):
            for init in batch.inits:
                self._codec.start_stream(init.slot, init.reference, init.primed, init.scope)
            self._side.wait_event(framed)
            decoding.record()
            with nvtx.stage("codec"):
                groups = self._run_chunks(batch.chunks, buffers)
            decoded.record()
        return Launched(batch, buffers, riding, groups, self._kind(batch, riding), at)

    def _kind(self, batch: Batch, riding: int) -> tuple[int, int]:
        """Sizes of the graphs for rows and prompt tokens."""
        rows = len(batch.rows)
        if riding:
            return self._riding[riding].size(riding + rows) - riding, riding
        return _size(self._frames, rows), _size(self._prefill, batch.tokens)

    def _riding_size(self, batch: Batch) -> int:
        """Prompt tokens of the graph that reads prompts with the rows; 0 where they are read apart."""
        if not (batch.rows and batch.prefills):
            return 0
        return next((size for size in self._riding if size >= batch.tokens), 0)

    def _run_prefill(self, prefills: Sequence[Prefill], buffers: StepBuffers) -> None:
        if prefills:
            packed = pack_prefills(prefills, self._groups)
            buffers.tokens.load(packed, self._prefill)
            self._prefill.replay(len(packed))

    def _run_rows(self, batch: Batch, riding: int, buffers: StepBuffers) -> None:
        """One frame a row, after `riding` prompt tokens of the same pass."""
        if not batch.rows:
            return
        count, table = len(batch.rows), pack_rows(batch.rows, self._groups)
        graphs, staging = self._frames, buffers.rows
        if riding:
            graphs, staging = self._riding[riding], buffers.riding[riding]
            table = np.concatenate((self._padded_prompt(batch, riding), table))
        staging.load(table, graphs)
        buffers.frames[:count].copy_(graphs.replay(len(table))[:count], non_blocking=True)

    def _padded_prompt(self, batch: Batch, size: int) -> npt.NDArray[np.int64]:
        """Table of the batch's prompt tokens, filled up to `size`."""
        packed = pack_prefills(batch.prefills, self._groups)
        surplus = np.array([self._padding], np.int64).repeat(size - len(packed), 0)
        return np.concatenate((packed, surplus))

    def _run_chunks(self, chunks: Sequence[Chunk], buffers: StepBuffers) -> list[Group]:
        """One codec call a size, in order of the chunks.

        Their audio lies side by side.
        """
        groups, used = [], 0
        for size, those in by_size(chunks).items():
            # Contiguous, for any other copy would wait for the device.
            samples = len(those) * size * self._codec.frame_samples
            audio = buffers.audio[used : used + samples].view(len(those), -1)
            self._decode([chunks[i] for i in those], buffers.chunks[size], self._decoders[size], audio)
            groups.append(Group(those, audio))
            used += samples
        return groups

    def _decode(self, chunks: Sequence[Chunk], staging: StagingBuffer, graphs: Graphs[Tensor], audio: Tensor) -> None:
        """Decode chunks of one size to `audio` on the host.

        audio (chunks, samples) int16.
        """
        staging.load(np.array([(chunk.slot, chunk.first) for chunk in chunks], np.int64), graphs)
        audio.copy_(graphs.replay(len(chunks))[: len(chunks)], non_blocking=True)

    # ---- output

    def _output(self, launched: Launched) -> StepOutput:
        batch, buffers = launched.batch, launched.buffers
        start, filled, framed, *_ = buffers.marks
        framed.synchronize()
        sampled_at = time.monotonic()
        self._pacer.observe(launched.kind, start.elapsed_time(framed) / 1e3)
        frames = buffers.frames[: len(batch.rows)].numpy().copy()
        apart = 0 if launched.riding else batch.tokens
        timings = [
            StageTiming("prefill", apart, start.elapsed_time(filled) / 1e3, graph=True),
            StageTiming("frame", len(batch.rows), filled.elapsed_time(framed) / 1e3, graph=True),
        ]
        return StepOutput(
            batch,
            codes=frames[:, :-1],
            finite=frames[:, -1].astype(bool),
            audio=(),
            sampled_at=sampled_at,
            timings=tuple(timing for timing in timings if timing.batch),
            next_by=self._next_by(sampled_at),
            decoding=partial(_decoded, launched) if batch.chunks else None,
        )

    def _next_by(self, sampled_at: float) -> float:
        """When to launch the step after the one in flight.

        That one began when the one before it ended.
        """
        in_flight = self._in_flight
        return 0.0 if in_flight is None else self._pacer.next_by(in_flight.kind, max(sampled_at, in_flight.at))

    # ---- construction

    def _padded(self, rows: int) -> Tensor:
        return torch.tensor(self._padding, device=self._device).repeat(rows, 1)

    def _riding_graphs(self, tokens: int, pool: Pool) -> dict[int, Graphs[Tensor]]:
        """Graphs of frames with prompt tokens, by these; none where a frame would come out differently."""
        if not self._frame.takes_prompts:
            return {}
        slots = self._state.dummy
        return {
            size: Graphs(
                partial(self._frame.forward, prompt=size),
                self._padded(size + slots),
                [size + rows for rows in sizes_up_to(slots, RIDDEN_SIZES)],
                pool,
            )
            for size in RIDING_SIZES
            if size <= tokens
        }

    def _codec_graphs(self) -> dict[int, Graphs[Tensor]]:
        """Codec graphs by frames a chunk.

        They share a pool of their own, for they run beside the others.
        """
        pool, slots = torch.cuda.graph_pool_handle(), self._state.dummy
        sizes, decoders = sizes_up_to(slots, STREAM_SIZES), {}
        for frames in SIZES:
            table = torch.tensor([(slots, 0)], device=self._device).repeat(slots, 1)
            decoders[frames] = Graphs(self._decoder(frames), table, sizes, pool)
        return decoders

    def _decoder(self, frames: int) -> Callable[[Tensor], Tensor]:
        """Function from chunks to audio.

        (B, 2) int64, slot and first frame, -> (B, samples) int16.
        """

        def decode(table: Tensor) -> Tensor:
            slots, first = table.t().contiguous().unbind()
            ring = (first[:, None] + torch.arange(frames, device=table.device)) % RING
            return self._codec.forward(slots, self._state.frames[slots[:, None], ring])

        return decode

    def _new_buffers(self) -> StepBuffers:
        slots = self._state.dummy
        frames = torch.empty((slots, self._groups + 1), dtype=torch.int32, pin_memory=True)
        audio = torch.empty((slots * SIZES[-1] * self._codec.frame_samples,), dtype=torch.int16, pin_memory=True)
        staging = {size: StagingBuffer((slots, 0), graphs.sizes) for size, graphs in self._decoders.items()}
        return StepBuffers(
            tokens=StagingBuffer(self._padding, self._prefill.sizes),
            rows=StagingBuffer(self._padding, self._frames.sizes),
            riding={size: StagingBuffer(self._padding, graphs.sizes) for size, graphs in self._riding.items()},
            chunks=staging,
            frames=frames,
            audio=audio,
        )


def _decoded(launched: Launched) -> tuple[list[Pcm], tuple[StageTiming, ...]]:
    """Audio of a step, awaited, with the codec's timing."""
    *_, decoding, decoded = launched.buffers.marks
    decoded.synchronize()
    seconds = decoding.elapsed_time(decoded) / 1e3
    return _audio(launched), (StageTiming("codec", len(launched.batch.chunks), seconds, graph=True),)


def _audio(launched: Launched) -> list[Pcm]:
    """Audio of each chunk of the batch, in order."""
    audio: dict[int, Pcm] = {}
    for group in launched.groups:
        audio.update(zip(group.members, group.audio.numpy().copy(), strict=True))
    return [audio[i] for i in range(len(audio))]


def _size(graphs: Graphs[Output], rows: int) -> int:
    """Rows of the graph for `rows`; 0 without rows."""
    return graphs.size(rows) if rows else 0
