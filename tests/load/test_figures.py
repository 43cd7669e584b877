"""Playback, silence and percentiles, on cases worked out by hand, and playback beside the engine's own model."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.call import Call
from benchmarks.load.figures import Spread, nearest_rank, peak_in_flight, rate_figures, trial_figures
from benchmarks.load.plan import MEASUREMENT, WARM_UP, Settings
from benchmarks.load.playback import leading_silence, underruns
from benchmarks.load.report import document, dump, header, row
from engine.scheduler.playback import Playback


def call(sent: float, *arrivals: float, phase: str = MEASUREMENT, error: str = "", **changes: object) -> Call:
    fields = {
        "phase": phase,
        "due": sent,
        "sent": sent,
        "ended": arrivals[-1] if arrivals else sent,
        "arrivals": arrivals,
        "durations": (0.16,) * len(arrivals),
        "silence": 0.02,
        "error": error,
    }
    return Call(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrivals", "late"),
    [
        ([], 0),
        ([9.0], 0),
        ([1.0, 1.16], 0),  # just in time
        ([1.0, 1.1601], 1),
        ([1.0, 1.5, 1.66], 1),  # the deadline moved to the late chunk
        ([1.0, 1.5, 1.7], 2),
        ([1.0, 1.01, 1.02, 1.47], 0),  # a buffer was built up
    ],
)
def test_underruns(arrivals: list[float], late: int) -> None:
    assert underruns(arrivals, [0.16] * len(arrivals)) == late


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 12)), min_size=1, max_size=30))
def test_underruns_agree_with_the_engine(chunks: list[tuple[int, int]]) -> None:
    """Times in sixteenths of a second and frames of the engine's length: sums without rounding trouble at the edge."""
    engine, now, arrivals = Playback(0.08), 0.0, []
    for gap, frames in chunks:
        now += gap / 128 + 1e-6
        engine.deliver(frames, now)
        arrivals.append(now)
    assert underruns(arrivals, [0.08 * frames for _, frames in chunks]) == engine.underruns


def test_leading_silence_is_found_to_a_hop() -> None:
    tone = np.sin(np.arange(4_800) * 0.3) * 3_000
    pcm = np.concatenate([np.full(2_400, 500.0), tone]).astype("<i2").tobytes()  # 100 ms of an offset, no sound
    assert leading_silence(pcm) == pytest.approx(0.1, abs=0.02)


def test_one_loud_window_is_a_click() -> None:
    samples = np.zeros(4_800)
    samples[1_200 : 1_200 + 20] = 20_000.0
    assert leading_silence(samples[:1_400].astype("<i2").tobytes()) is None
    assert leading_silence(b"") is None


@pytest.mark.parametrize(
    ("count", "percent", "rank"), [(1, 50, 1), (4, 50, 2), (5, 50, 3), (20, 95, 19), (21, 95, 20), (100, 99, 99)]
)
def test_nearest_rank(count: int, percent: int, rank: int) -> None:
    assert nearest_rank(range(1, count + 1), percent) == rank


def test_a_trial_counts_what_it_measured() -> None:
    warm = call(0.5, 0.6, phase=WARM_UP)
    good, late = call(1.0, 1.02, 1.03), call(1.01, 1.05, 1.9)
    lost = call(1.5, error="UNAVAILABLE: gone")
    figures = trial_figures([warm, good, late, lost], 3.0, start=1.0, seconds=1.0)
    assert (figures.requests, figures.failed, figures.interrupted, figures.in_flight) == (3, 1, 1, 2)
    assert figures.achieved == 2.0  # the warm-up's call ended before
    assert figures.audio == pytest.approx(0.64)
    assert figures.first_playable.p50 == pytest.approx(20.0)
    assert figures.audible.p95 == pytest.approx(60.0)
    assert figures.errors == ("UNAVAILABLE: gone",)
    assert not figures.passed


def test_a_rate_is_the_median_over_its_seeds() -> None:
    firsts = (0.03, 0.01, 0.02)
    trials = [trial_figures([call(1.0, 1.0 + first)], 1.0, 1.0, 1.0) for first in firsts]
    figures = rate_figures(trials)
    assert figures.first_playable.p95 == pytest.approx(20.0)
    assert figures.requests == 3
    assert figures.passed


def test_peak_in_flight_ends_before_it_begins() -> None:
    assert peak_in_flight([call(0.0, 1.0), call(1.0, 2.0), call(1.5, 3.0)]) == 2


def test_a_rate_without_audio_is_reported_as_such() -> None:
    figures = trial_figures([call(1.0, error="RESOURCE_EXHAUSTED: full")], 10.0, 1.0, 1.0)
    assert math.isnan(figures.first_playable.p95)
    written = json.loads(dump(document(Settings("here"), {"model": "m"}, [figures])))
    assert written["rates"][0]["first_playable"]["p95"] is None
    cells = dict(zip(header().splitlines()[0].split(" | "), row(figures).split(" | "), strict=True))
    assert cells["rival p95"] == "41.0"
    assert row(figures).endswith("| 1 failed |")


def test_spread_skips_what_is_missing() -> None:
    assert Spread.of([0.001, None, 0.003]).p99 == pytest.approx(3.0)
