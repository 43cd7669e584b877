"""One GPU under load.

By the real scheduler, with measured graph times.
What a fleet needs to know of it: first audio, and frames a second, by the number of open turns.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.load.prompts import Prompt
from benchmarks.parts.policy import SLOTS, Simulation
from engine.scheduler.sequence import Sequence

RATES = (5, 20, 40, 60, 80, 100, 120, 140, 160, 180)  # turns a second
SECONDS = 6.0
BUCKET = 4  # open turns that share one entry
MAX_LEAD = 5.0  # seconds ahead of playback, the default of the contract

Floats = npt.NDArray[np.float64]


class Observed(Simulation):
    """A run with the open turns at each arrival."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate, SECONDS, max_lead=MAX_LEAD)
        self.met: dict[int, int] = {}  # open turns at arrival, by identity of a sequence
        self.first: dict[int, float] = {}
        self.pace: list[tuple[int, float]] = []  # open turns at the end, frames a second of an open turn
        self._kept: list[Sequence] = []  # so that no two have one identity

    def _sequence(self, arrived: float, prompt: Prompt) -> Sequence:
        made = super()._sequence(arrived, prompt)
        self._kept.append(made)
        self.met[id(made)] = self._open
        return made

    def _hear(self, sequence: Sequence, frames: int) -> None:
        if sequence.playback.frames == 0:
            self.first[id(sequence)] = self._now - sequence.arrived
        super()._hear(sequence, frames)
        if sequence.playback.frames * sequence.playback.frame_seconds < MAX_LEAD:
            spent = self._now - sequence.arrived - self.first[id(sequence)]
            if spent > 0 and sequence.playback.frames > frames:
                self.pace.append((self._open, (sequence.playback.frames - frames) / spent))


@dataclass(frozen=True, slots=True)
class Device:
    """Behaviour by open turns, in buckets of `BUCKET`.

    `first`: sorted seconds to first audio of turns that met as many; `frames`: frames a second of each open turn.
    """

    first: tuple[Floats, ...]
    frames: Floats

    @property
    def slots(self) -> int:
        """Turns that run at once."""
        return SLOTS

    def bucket(self, turns: int) -> int:
        """The bucket of this many open turns."""
        return min(turns // BUCKET, len(self.first) - 1)


def measured(rates: Iterable[float] = RATES) -> Device:
    """Figures of the scheduler at each rate."""
    first: defaultdict[int, list[float]] = defaultdict(list)
    pace: defaultdict[int, list[float]] = defaultdict(list)
    for rate in rates:
        run = Observed(rate)
        run.run()
        for sequence, turns in run.met.items():
            first[min(turns, SLOTS) // BUCKET].append(run.first[sequence])
        for turns, frames in run.pace:
            pace[min(turns, SLOTS) // BUCKET].append(frames)
    return Device(tuple(_filled(first)), np.array([np.median(values) for values in _filled(pace)]))


def _filled(found: dict[int, list[float]]) -> list[Floats]:
    """Every bucket.

    One without observations has those of the nearest below, or else above.
    """
    if not found:
        raise ValueError("no turn was observed")
    filled: list[Floats] = []
    nearest = found[min(found)]
    for bucket in range(SLOTS // BUCKET + 1):
        nearest = found.get(bucket, nearest)
        filled.append(np.sort(np.array(nearest)))
    return filled
