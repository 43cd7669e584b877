"""Figures of a trial's calls; medians over a rate's trials."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load.call import Call
from benchmarks.load.plan import MEASUREMENT


@dataclass(frozen=True, slots=True)
class Spread:
    """Nearest-rank percentiles in milliseconds; NaN for no values."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float | None]) -> "Spread":
        """Percentiles of the times that are not None."""
        known = sorted(1000.0 * value for value in seconds if value is not None)
        return cls(*(nearest_rank(known, percent) for percent in (50, 95, 99)))

    @classmethod
    def middle(cls, spreads: Sequence["Spread"]) -> "Spread":
        """The median of each percentile."""
        return cls(*(median(getattr(one, name) for one in spreads) for name in ("p50", "p95", "p99")))


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one trial's measured requests, or of one rate.

    Of a rate: medians over its seeds, sums and maxima. `achieved`: calls that came to their end in the measured time,
    per second; `audio`: seconds of sound per second; `interrupted`: requests with an underrun. The gate is passed when
    every request was spoken without one.
    """

    rate: float
    requests: int
    failed: int
    interrupted: int
    achieved: float
    audio: float
    in_flight: int
    first_playable: Spread
    audible: Spread
    end_to_end: Spread
    gaps: Spread
    lateness: Spread
    errors: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the rate was held."""
        return self.requests > 0 and not self.failed and not self.interrupted


def trial_figures(calls: Sequence[Call], rate: float, start: float, seconds: float) -> Figures:
    """Figures of one trial; warm-up calls count only as load.

    The measured time is `seconds` from `start` on.
    """
    measured = [call for call in calls if call.phase == MEASUREMENT]
    spoken = [call for call in measured if not call.error]
    ended = sum(start <= call.ended < start + seconds for call in calls if not call.error)
    chunks = [(at, length) for call in calls for at, length in zip(call.arrivals, call.durations, strict=True)]
    return Figures(
        rate=rate,
        requests=len(measured),
        failed=len(measured) - len(spoken),
        interrupted=sum(call.underruns > 0 for call in measured),
        achieved=ended / seconds,
        audio=sum(length for at, length in chunks if start <= at < start + seconds) / seconds,
        in_flight=peak_in_flight(calls),
        first_playable=Spread.of(call.first_playable for call in spoken),
        audible=Spread.of(call.audible for call in spoken),
        end_to_end=Spread.of(call.end_to_end for call in spoken),
        gaps=Spread.of(gap for call in spoken for gap in call.gaps),
        lateness=Spread.of(call.lateness for call in measured),
        errors=tuple(sorted({call.error for call in measured if call.error})),
    )


def rate_figures(trials: Sequence[Figures]) -> Figures:
    """Figures of one rate over its seeds."""
    return Figures(
        rate=trials[0].rate,
        requests=sum(trial.requests for trial in trials),
        failed=sum(trial.failed for trial in trials),
        interrupted=sum(trial.interrupted for trial in trials),
        achieved=median(trial.achieved for trial in trials),
        audio=median(trial.audio for trial in trials),
        in_flight=max(trial.in_flight for trial in trials),
        first_playable=Spread.middle([trial.first_playable for trial in trials]),
        audible=Spread.middle([trial.audible for trial in trials]),
        end_to_end=Spread.middle([trial.end_to_end for trial in trials]),
        gaps=Spread.middle([trial.gaps for trial in trials]),
        lateness=Spread.middle([trial.lateness for trial in trials]),
        errors=tuple(sorted({error for trial in trials for error in trial.errors})),
    )


def nearest_rank(ascending: Sequence[float], percent: int) -> float:
    """The smallest value not exceeded by at least `percent` values.

    `percent` from 1 to 100; NaN of nothing.
    """
    rank = -(-percent * len(ascending) // 100)
    return ascending[rank - 1] if ascending else math.nan


def peak_in_flight(calls: Sequence[Call]) -> int:
    """Most calls open at one moment."""
    changes = sorted([(call.ended, -1) for call in calls] + [(call.sent, 1) for call in calls])
    peak = now = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak
