"""The device's side of a step: entries, blocks, prefills, frames, audio, in that order, on one thread."""

import time
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from engine.batch import Batch, Chunk, Entry, Row, StepOutput
from engine.chunks import fit
from engine.observer import StageTiming
from engine.slots import RING, SlotState
from engine.stages.codec import CodecStage
from engine.stages.frame import FrameStage
from engine.stages.prefill import PrefillStage

Audio = npt.NDArray[np.int16]


class Stopwatch:
    """Seconds a stage took, noted as it ends."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.timings: list[StageTiming] = []

    def lap(self, stage: str, batch: int) -> None:
        """Charge the time since the last lap to `stage`, if it had any rows."""
        now = time.perf_counter()
        if batch:
            self.timings.append(StageTiming(stage, batch, now - self._since))
        self._since = now


class StepRunner:
    """Runs steps at once and returns what came of them: the plain path, on any device."""

    def __init__(self, state: SlotState, prefill: PrefillStage, frame: FrameStage, codec: CodecStage) -> None:
        self._state, self._prefill, self._frame, self._codec = state, prefill, frame, codec

    @torch.inference_mode()
    def step(self, batch: Batch) -> StepOutput:
        """Run one batch; raises whatever the device raises."""
        watch = Stopwatch()
        for entry in batch.entries:
            self._enter(entry)
        for slot, first, blocks in batch.blocks:
            self._state.set_blocks(slot, first, blocks)
        for work in batch.prefills:
            self._prefill.run(work)
        watch.lap("prefill", sum(len(work.columns) for work in batch.prefills))
        frames = self._run_rows(batch.rows)
        watch.lap("frame", len(batch.rows))
        sampled_at = time.monotonic()
        audio = self._decode(batch.chunks)
        watch.lap("codec", len(batch.chunks))
        return StepOutput(
            batch, frames[:, :-1], frames[:, -1].astype(bool), audio, sampled_at, tuple(watch.timings)
        )

    def _enter(self, entry: Entry) -> None:
        self._state.enter(entry)
        self._state.restore(entry.slot, entry.first_pending, entry.pending)
        self._codec.reset([entry.slot])
        if entry.primed:
            self._codec.prime(entry.slot, torch.tensor(entry.primed, device=self._state.codes.device))

    def _run_rows(self, rows: Sequence[Row]) -> npt.NDArray[np.int32]:
        if not rows:
            return np.empty((0, self._state.codes.shape[1] + 1), np.int32)
        device = self._state.codes.device
        for row in rows:
            if row.codes is not None:
                self._state.set_codes(row.slot, row.codes)
        packed = torch.tensor(self._frame.pack(rows), device=device)
        result: npt.NDArray[np.int32] = self._frame.forward(packed).cpu().numpy()
        return result

    def _decode(self, chunks: Sequence[Chunk]) -> list[Audio]:
        """Audio of each chunk, in order; chunks of one size share a codec call."""
        audio: dict[int, Audio] = {}
        by_size = sorted(range(len(chunks)), key=lambda i: fit(chunks[i].count))
        for size, group in groupby(by_size, key=lambda i: fit(chunks[i].count)):
            members = list(group)
            pcm = self._decode_group([chunks[i] for i in members], size)
            audio.update(zip(members, pcm, strict=True))
        return [audio[i] for i in range(len(chunks))]

    def _decode_group(self, chunks: Sequence[Chunk], size: int) -> Audio:
        slots = [chunk.slot for chunk in chunks]
        device = self._state.codes.device
        firsts = torch.tensor([chunk.first for chunk in chunks], device=device)
        ring = (firsts[:, None] + torch.arange(size, device=device)) % RING
        codes = self._state.frames[torch.tensor(slots, device=device)[:, None], ring]
        pcm: Audio = self._codec.decode(slots, codes).cpu().numpy()
        return pcm

