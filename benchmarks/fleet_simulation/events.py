"""First audio through a lost host, a rolling update."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.fleet_simulation.device import Device
from benchmarks.fleet_simulation.fleet import Fleet, Results
from benchmarks.fleet_simulation.traffic import Traffic

DETECTED = 1.0  # seconds until the balancer knows: two checks, 0.5 s apart
DRAINED = 8.0  # seconds until open turns have ended, with their listeners' pace
START = 11.0  # seconds of a start, kernels cached


@dataclass(frozen=True, slots=True)
class Run:
    """First audio by second, with what was lost.

    Its p50, its p95, in seconds.
    """

    seconds: tuple[float, ...]
    p50: tuple[float, ...]
    p95: tuple[float, ...]
    results: Results

    @property
    def whole(self) -> float:
        """p95 of the whole run."""
        return float(np.quantile([first for _, first in self.results.first], 0.95))


def lost_host(device: Device, number: int, turns_a_second: float, gpus: int, seconds: float, at: float) -> Run:
    """Loss of a host of `gpus` GPUs under load.

    Nothing replaces it.
    """
    fleet = Fleet(device, number)
    fleet.at(at, lambda: fleet.lose(range(gpus), DETECTED))
    return _run(fleet, turns_a_second, seconds)


def rolling_update(device: Device, number: int, turns_a_second: float, together: int, seconds: float, at: float) -> Run:
    """All servers restart, `together` at a time, each drained before."""
    fleet = Fleet(device, number)
    begin = at
    for first in range(0, number, together):
        for index in range(first, min(first + together, number)):
            _restart(fleet, index, begin)
        begin += DRAINED + START
    return _run(fleet, turns_a_second, max(seconds, begin + at))


def steady(device: Device, number: int, turns_a_second: float, balance: str, seconds: float) -> Run:
    """Nothing happens: what the way of balancing alone does."""
    return _run(Fleet(device, number, balance), turns_a_second, seconds)


def _restart(fleet: Fleet, index: int, begin: float) -> None:
    fleet.at(begin, lambda: fleet.drain(index))
    fleet.at(begin + DRAINED + START, lambda: fleet.start(index))


def _run(fleet: Fleet, turns_a_second: float, seconds: float) -> Run:
    results = fleet.run(Traffic().steady(turns_a_second, 0.0, seconds))
    moments, first = (np.array(values) for values in zip(*results.first, strict=True))
    bins = np.arange(int(seconds))
    heard = [first[(moments >= begin) & (moments < begin + 1)] for begin in bins]
    return Run(tuple(map(float, bins)), _quantile(heard, 0.5), _quantile(heard, 0.95), results)


def _quantile(heard: Sequence[np.ndarray], share: float) -> tuple[float, ...]:
    return tuple(float(np.quantile(values, share)) if len(values) else 0.0 for values in heard)
