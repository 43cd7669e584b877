"""The step on a GPU: graphs are queued one step ahead of the results, and audio is decoded beside the next frame."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.batch import Batch, Chunk, Entry, StepOutput
from engine.chunks import SIZES, fit
from engine.graphs import Graphs, Output, build, sizes_up_to
from engine.observer import StageTiming
from engine.request import SAMPLES_PER_FRAME
from engine.slots import RING, SlotState
from engine.stages.codec import CodecStage
from engine.stages.frame import FrameStage
from engine.stages.inputs import FIELDS, pack_prefills, pack_rows, padding
from engine.stages.prefill import PrefillStage

COLUMN_SIZES = (16, 32, 64, 128)
STREAM_SIZES = (1, 2, 4, 8, 16, 32, 64)
DEPTH = 3  # sets of host buffers: the step being filled, the one in flight, the one being read
Pcm = npt.NDArray[np.int16]


@dataclass(slots=True)
class Buffers:
    """Pinned host memory of one step, and events on its way through the device."""

    columns: Tensor  # (columns, fields) int64
    rows: Tensor  # (slots, fields) int64
    chunks: Tensor  # (sizes, slots, 2) int64
    frames: Tensor  # (slots, code groups + 1) int32
    audio: Tensor  # (slots, samples) int16
    marks: list[torch.cuda.Event] = field(
        default_factory=lambda: [torch.cuda.Event(enable_timing=True) for _ in range(5)]
    )


@dataclass(frozen=True, slots=True)
class Launched:
    """A batch on the device; `groups`: positions in the batch of the chunks of one size, and that size."""

    batch: Batch
    buffers: Buffers
    columns: int
    groups: Sequence[tuple[list[int], int]]


class AheadRunner:
    """Everything is captured when it is built; afterwards a step launches graphs and copies, and allocates nothing."""

    @torch.inference_mode()
    def __init__(
        self, state: SlotState, prefill: PrefillStage, frame: FrameStage, codec: CodecStage, columns: int
    ) -> None:
        """`columns`: the most prompt columns that a step may hold."""
        self._state, self._frame, self._codec = state, frame, codec
        self._device, self._groups = state.codes.device, state.codes.shape[1]
        self._main, self._side = torch.cuda.Stream(self._device), torch.cuda.Stream(self._device)
        self._padding = torch.tensor(padding(state.dummy, self._groups))
        fields = FIELDS + self._groups
        pool = torch.cuda.graph_pool_handle()
        rows = self._padded(state.dummy)
        self._frames = Graphs(frame.forward, rows, sizes_up_to(state.dummy), pool)
        prompt = self._padded(columns)
        self._prefill = Graphs(prefill.forward, prompt, sizes_up_to(columns, COLUMN_SIZES), pool)
        self._decoders = self._codec_graphs()
        build([self._frames, self._prefill, *self._decoders.values()])
        self._buffers = cycle([self._new_buffers(columns, fields) for _ in range(DEPTH)])
        self._flying: Launched | None = None

    @torch.inference_mode()
    def step(self, batch: Batch) -> StepOutput | None:
        """Launch `batch`, wait for the one before, and return what came of that; an empty batch launches nothing."""
        with torch.cuda.device(self._device):
            launched = None if batch.empty else self._launch(batch)
            before, self._flying = self._flying, launched
            return None if before is None else self._output(before)

    # ---- on the way in

    def _launch(self, batch: Batch) -> Launched:
        buffers = next(self._buffers)
        start, filled, framed, decoding, decoded = buffers.marks
        with torch.cuda.stream(self._main):
            start.record()
            for entry in batch.entries:
                self._enter(entry)
            columns = self._run_prefill(batch, buffers)
            filled.record()
            self._run_rows(batch, buffers)
            framed.record()
        with torch.cuda.stream(self._side):
            self._side.wait_event(framed)
            decoding.record()
            groups = self._run_chunks(batch.chunks, buffers)
            decoded.record()
        return Launched(batch, buffers, columns, groups)

    def _enter(self, entry: Entry) -> None:
        self._state.enter(entry)
        with torch.cuda.stream(self._side):
            self._side.wait_stream(self._main)
            self._codec.begin(entry.slot, entry.reference, entry.primed)

    def _run_prefill(self, batch: Batch, buffers: Buffers) -> int:
        if not batch.prefills:
            return 0
        packed = pack_prefills(batch.prefills, self._groups)
        self._load(packed, buffers.columns, self._prefill)
        self._prefill.replay(len(packed))
        return len(packed)

    def _run_rows(self, batch: Batch, buffers: Buffers) -> None:
        if not batch.rows:
            return
        count = len(batch.rows)
        self._load(pack_rows(batch.rows, self._groups), buffers.rows, self._frames)
        buffers.frames[:count].copy_(self._frames.replay(count)[:count], non_blocking=True)

    def _load(self, packed: npt.NDArray[np.int64], host: Tensor, graphs: Graphs[Output]) -> None:
        """Copy a table to where its graph reads it, padded to the graph's size."""
        count, size = len(packed), graphs.size(len(packed))
        host[:count] = torch.from_numpy(packed)
        host[count:size] = self._padding
        graphs.table[:size].copy_(host[:size], non_blocking=True)

    def _run_chunks(self, chunks: Sequence[Chunk], buffers: Buffers) -> list[tuple[list[int], int]]:
        by_size = sorted(range(len(chunks)), key=lambda i: fit(chunks[i].count))
        groups = [(list(members), size) for size, members in groupby(by_size, key=lambda i: fit(chunks[i].count))]
        done = 0
        for members, size in groups:
            pcm = self._run_group([chunks[i] for i in members], size, buffers)
            buffers.audio[done : done + len(members), : pcm.shape[1]].copy_(pcm, non_blocking=True)
            done += len(members)
        return groups

    def _run_group(self, chunks: Sequence[Chunk], size: int, buffers: Buffers) -> Tensor:
        """Audio (chunks, samples) int16 of chunks of one size, on the device."""
        graphs, host, count = self._decoders[size], buffers.chunks[SIZES.index(size)], len(chunks)
        padded = graphs.size(count)
        places = [(chunk.slot, chunk.first) for chunk in chunks] + [(self._state.dummy, 0)] * (padded - count)
        host[:padded] = torch.tensor(places)
        graphs.table[:padded].copy_(host[:padded], non_blocking=True)
        return graphs.replay(count)[:count]

    # ---- on the way out

    def _output(self, launched: Launched) -> StepOutput:
        batch, buffers = launched.batch, launched.buffers
        start, filled, framed, decoding, decoded = buffers.marks
        framed.synchronize()
        sampled_at = time.monotonic()
        decoded.synchronize()
        frames = buffers.frames[: len(batch.rows)].numpy().copy()
        timings = [
            StageTiming("prefill", launched.columns, start.elapsed_time(filled) / 1e3, graph=True),
            StageTiming("frame", len(batch.rows), filled.elapsed_time(framed) / 1e3, graph=True),
            StageTiming("codec", len(batch.chunks), decoding.elapsed_time(decoded) / 1e3, graph=True),
        ]
        used = tuple(timing for timing in timings if timing.batch)
        audio = self._audio(launched)
        return StepOutput(batch, frames[:, :-1], frames[:, -1].astype(bool), audio, sampled_at, used)

    def _audio(self, launched: Launched) -> list[Pcm]:
        audio: dict[int, Pcm] = {}
        order = [(i, size) for members, size in launched.groups for i in members]
        for row, (i, size) in enumerate(order):
            audio[i] = launched.buffers.audio[row, : size * SAMPLES_PER_FRAME].numpy().copy()
        return [audio[i] for i in range(len(order))]

    # ---- when it is built

    def _padded(self, rows: int) -> Tensor:
        return self._padding.repeat(rows, 1).to(self._device)

    def _codec_graphs(self) -> dict[int, Graphs[Tensor]]:
        """Decoders by frames a chunk; they share a pool of their own, for they run beside the others."""
        pool, slots = torch.cuda.graph_pool_handle(), self._state.dummy
        sizes, decoders = sizes_up_to(slots, STREAM_SIZES), {}
        for frames in SIZES:
            table = torch.tensor([(slots, 0)], device=self._device).repeat(slots, 1)
            decoders[frames] = Graphs(self._decoder(frames), table, sizes, pool)
        return decoders

    def _decoder(self, frames: int) -> Callable[[Tensor], Tensor]:
        """Places (B, 2) int64 of chunks, slot and first frame, to their audio (B, samples) int16."""

        def decode(places: Tensor) -> Tensor:
            slots, first = places.t().contiguous().unbind()
            ring = (first[:, None] + torch.arange(frames, device=places.device)) % RING
            return self._codec.forward(slots, self._state.frames[slots[:, None], ring])

        return decode

    def _new_buffers(self, columns: int, fields: int) -> Buffers:
        def pinned(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.empty(shape, dtype=dtype, pin_memory=True)

        slots = self._state.dummy
        return Buffers(
            columns=pinned(columns, fields),
            rows=pinned(slots, fields),
            chunks=pinned(len(SIZES), slots, 2),
            frames=pinned(slots, self._groups + 1, dtype=torch.int32),
            audio=pinned(slots, SIZES[-1] * SAMPLES_PER_FRAME, dtype=torch.int16),
        )
