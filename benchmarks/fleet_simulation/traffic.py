"""Turns of a day.

A curve by hour, Poisson arrivals, the load test's texts.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.load.prompts import BUILT_IN, read_prompts

# Share of a day's turns by hour: people talk to machines in daylight, with peaks before noon and in the evening.
HOURS = (14, 9, 6, 5, 5, 8, 16, 30, 47, 60, 68, 66, 58, 60, 64, 65, 64, 66, 72, 74, 62, 43, 28, 20)
DAY = 86_400.0


def rate(moment: float, turns_a_day: float) -> float:
    """Turns a second at a moment of the day.

    Interpolated between the hours' middles.
    """
    middles = (np.arange(-1, 25) + 0.5) * 3_600
    shares = np.array((HOURS[-1], *HOURS, HOURS[0])) / sum(HOURS)
    return float(np.interp(moment % DAY, middles, shares)) * turns_a_day / 3_600


def peak(turns_a_day: float) -> float:
    """Turns a second of the busiest hour."""
    return max(HOURS) / sum(HOURS) * turns_a_day / 3_600


class Traffic:
    """Turns as (arrival, frames)."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._frames = np.array([prompt.frames for prompt in read_prompts(BUILT_IN)])
        self.characters = float(np.mean([len(prompt.text) for prompt in read_prompts(BUILT_IN)]))

    def steady(self, turns_a_second: float, begin: float, seconds: float) -> list[tuple[float, int]]:
        """Arrivals at one rate, in order."""
        number = self._random.poisson(turns_a_second * seconds)
        moments = np.sort(begin + self._random.random(number) * seconds)
        return list(zip(moments.tolist(), self._random.choice(self._frames, number).tolist(), strict=True))

    def day(self, turns_a_day: float, begin: float = 0.0, end: float = DAY) -> Iterator[tuple[float, int]]:
        """Arrivals between two moments of the day.

        By its curve, from `begin` to `end`.
        """
        for second in range(int(begin), int(end)):
            yield from self.steady(rate(second, turns_a_day), second, 1.0)
