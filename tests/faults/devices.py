"""A device without a model: a frame costs what a test says, and depends on its speech's seed and its number alone."""

import random
import time

import numpy as np

from engine.scheduler.batch import Batch, StepOutput
from tests.engine.tiny import FRAME_SAMPLES

GROUPS = 16
IDS = 1_000  # codes of codebook 0 that mean audio


class Steady:
    """Each step takes `seconds`; a segment ends after `ends_after` frames, 0 for never.

    The values of speeches whose seed is in `breaks` are not finite from their fifth frame on.
    """

    def __init__(self, eos: int, seconds: float = 0.0, ends_after: int = 0) -> None:
        self.seconds = seconds
        self.breaks: set[int] = set()
        self._eos, self._ends_after = eos, ends_after
        self._seeds: dict[int, int] = {}
        self._offsets: dict[int, int] = {}  # the turn's frame at which the slot's segment began
        self._begun: dict[
            int, int
        ] = {}  # the same by seed: a speech may come back to another slot with frames to decode

    def step(self, batch: Batch) -> StepOutput:
        """One frame for each row, and audio for each chunk."""
        time.sleep(self.seconds)
        self._seeds |= {init.slot: init.seed for init in batch.inits}
        self._offsets |= {init.slot: self._begun.get(init.seed, 0) for init in batch.inits}
        self._offsets |= {row.slot: row.frame - row.index for row in batch.rows}
        self._begun |= {self._seeds[row.slot]: row.frame - row.index for row in batch.rows}
        codes = np.zeros((len(batch.rows), GROUPS), np.int32)
        for frame, row in zip(codes, batch.rows, strict=True):
            ends = self._ends_after and row.index >= self._ends_after and row.may_end
            frame[0] = self._eos if ends else self._draw(row.slot, row.frame)
        audio = [self._audio(chunk.slot, chunk.first, chunk.count) for chunk in batch.chunks]
        finite = [row.frame < 4 or self._seeds[row.slot] not in self.breaks for row in batch.rows]
        return StepOutput(batch, codes, np.array(finite, np.bool_), audio, time.monotonic())

    def _draw(self, slot: int, frame: int) -> int:
        return random.Random(f"{self._seeds[slot]} {frame}").randrange(IDS)

    def _audio(self, slot: int, first: int, count: int) -> np.ndarray:
        frames = [self._draw(slot, self._offsets[slot] + first + number) for number in range(count)]
        return np.repeat(np.array(frames, np.int16), FRAME_SAMPLES)
