"""A day of a fleet that scales itself.

Against the curve of turns, with its cost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.fleet_simulation.device import Device
from benchmarks.fleet_simulation.fleet import Fleet
from benchmarks.fleet_simulation.traffic import DAY, Traffic, rate
from qwentts_fleet.load import Load
from qwentts_fleet.scaling import Scaler
from qwentts_fleet.settings import Settings

START = 11.0  # seconds of a server's start, its kernels cached (docs/performance.md)
NODE = 90.0  # seconds until a new host is there
STEP = 5.0  # seconds between two looks of the scaling
BUSY = 0.25  # share of the slots: 32 open turns of 128, where first audio is still as at rest
HEADROOM = 0.95  # nearest-rank percentile of first audio that hours are judged by


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a day.

    Turns a second, servers, p95 of first audio in seconds.
    """

    hour: int
    rate: float
    servers: float
    first: float


@dataclass(frozen=True, slots=True)
class Day:
    """A whole day; `gpu_hours` as paid for, starts included."""

    hours: tuple[Hour, ...]
    turns: int
    refused: int
    gpu_hours: float
    characters: float

    def cost(self, price: float) -> float:
        """Cost of a million characters.

        At a price of a GPU's hour.
        """
        return price * self.gpu_hours / (self.characters / 1e6)


class Scaled:
    """A fleet scaled in simulated time."""

    def __init__(self, device: Device, most: int, spare: int) -> None:
        """`spare`: servers beyond the scaler's target.

        They are against the loss of a host.
        """
        self._settings = Settings(least=1, most=most, busy=BUSY, down_after=600.0)
        self._scaler, self._spare, self._device = Scaler(self._settings), spare, device
        self.fleet = Fleet(device, most + spare)
        self.target = 1 + spare
        self.paid = 0.0
        self.counts: list[tuple[float, int]] = []
        self._coming: set[int] = set()
        for gpu in self.fleet.gpus[self.target :]:
            gpu.up = gpu.takes = False

    def watch(self, begin: float, end: float) -> None:
        """Look at the load every `STEP`."""
        for moment in np.arange(begin, end, STEP).tolist():
            self.fleet.at(moment, self._look)

    def _look(self) -> None:
        serving = [gpu for gpu in self.fleet.gpus if gpu.takes]
        loads = {
            str(gpu.index): Load(slots=self._device.slots, running=gpu.open, queued=len(gpu.queue)) for gpu in serving
        }
        asked = self._scaler.decide(loads, self.target - self._spare, self.fleet.now)
        self.target = asked + self._spare
        self.paid += STEP * (len(serving) + len(self._coming))
        self.counts.append((self.fleet.now, len(serving)))
        for gpu in self.fleet.gpus:
            self._adjust(gpu.index)

    def _adjust(self, index: int) -> None:
        gpu = self.fleet.gpus[index]
        if index >= self.target and gpu.takes:
            self.fleet.drain(index)
        elif index < self.target and not gpu.takes and index not in self._coming:
            self._coming.add(index)
            self.fleet.at(self.fleet.now + NODE + START, lambda: self._come(index))

    def _come(self, index: int) -> None:
        self._coming.discard(index)
        self.fleet.start(index)


def simulate(device: Device, turns_a_day: float, most: int, spare: int, hours: int = 24) -> Day:
    """The first `hours` of a day, every turn of it."""
    scaled, traffic = Scaled(device, most, spare), Traffic()
    end = min(DAY, hours * 3_600.0)
    scaled.watch(0.0, end)
    results = scaled.fleet.run(traffic.day(turns_a_day, 0.0, end))
    return Day(
        tuple(_hours(results.first, scaled.counts, turns_a_day, hours)),
        results.turns,
        results.refused,
        scaled.paid / 3_600,
        results.turns * traffic.characters,
    )


def _hours(
    first: list[tuple[float, float]], counts: list[tuple[float, int]], turns_a_day: float, hours: int
) -> Iterator[Hour]:
    moments, waits = np.array([at for at, _ in first]), np.array([wait for _, wait in first])
    looks, servers = np.array([at for at, _ in counts]), np.array([number for _, number in counts])
    for begin, end in pairwise(3_600.0 * hour for hour in range(hours + 1)):
        heard = waits[(moments >= begin) & (moments < end)]
        seen = servers[(looks >= begin) & (looks < end)]
        p95 = float(np.quantile(heard, HEADROOM)) if len(heard) else 0.0
        yield Hour(int(begin // 3_600), rate(begin + 1_800, turns_a_day), float(seen.mean()), p95)
