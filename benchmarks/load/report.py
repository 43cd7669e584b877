"""The figures as a Markdown table, as JSON for plots."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.load.figures import Figures
from benchmarks.load.plan import Settings

# p95 of first playable audio in ms by rate: nari-qwen3-tts, 1.7B-CustomVoice, one H100 80GB HBM3, this schedule with
# seed 0 and 25 s. It held the first rate; at the others it had underruns in 5 of 267 and in 101 of 509 requests.
BEST_RIVAL = {1.0: 31.9, 10.0: 41.0, 20.0: 152.0}
HELD_BY_RIVAL = {1.0}

COLUMNS = (
    ("req/s", "rate"),
    ("done/s", "achieved"),
    ("audio s/s", "audio"),
    ("in flight", "in flight"),
    ("first audio ms p50/p95/p99", "first playable"),
    ("rival p95", "rival"),
    ("audible p95", "audible"),
    ("end p50/p95 ms", "end"),
    ("gap p99", "gap"),
    ("underruns", "underruns"),
    ("late p99", "late"),
    ("gate", "gate"),
)


def header() -> str:
    """The first two lines of a Markdown table.

    Times in ms; "late": the generator's own lag behind its schedule.
    """
    return _line([title for title, _ in COLUMNS]) + "\n" + _line(["---:"] * len(COLUMNS))


def row(figures: Figures) -> str:
    """The line of one rate."""
    cells = _cells(figures)
    return _line([cells[key] for _, key in COLUMNS])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(figures: Figures) -> dict[str, str]:
    first, end = figures.first_playable, figures.end_to_end
    return {
        "rate": f"{figures.rate:g}",
        "achieved": f"{figures.achieved:.1f}",
        "audio": f"{figures.audio:.1f}",
        "in flight": str(figures.in_flight),
        "first playable": f"{first.p50:.1f} / {first.p95:.1f} / {first.p99:.1f}",
        "rival": f"{BEST_RIVAL[figures.rate]:.1f}" if figures.rate in BEST_RIVAL else "",
        "audible": f"{figures.audible.p95:.1f}",
        "end": f"{end.p50:.0f} / {end.p95:.0f}",
        "gap": f"{figures.gaps.p99:.1f}",
        "underruns": f"{figures.interrupted} of {figures.requests}",
        "late": f"{figures.lateness.p99:.1f}",
        "gate": "held" if figures.passed else f"{figures.failed} failed" if figures.failed else "underruns",
    }


def document(settings: Settings, about: Mapping[str, Any], rates: Sequence[Figures]) -> dict[str, Any]:
    """All figures as JSON values; unmeasured times are null."""
    plain = {
        "about": dict(about),
        "settings": asdict(settings),
        "rates": [asdict(figures) | {"passed": figures.passed} for figures in rates],
        "best_rival": [
            {"rate": rate, "first_playable_p95": value, "passed": rate in HELD_BY_RIVAL}
            for rate, value in BEST_RIVAL.items()
        ],
    }
    known: dict[str, Any] = _known(plain)
    return known


def dump(value: Mapping[str, Any]) -> str:
    """JSON text of `value`."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _known(value: Any) -> Any:
    """The same value with null for NaN."""
    match value:
        case float():
            return None if math.isnan(value) else value
        case dict():
            return {key: _known(item) for key, item in value.items()}
        case list() | tuple():
            return [_known(item) for item in value]
    return value
