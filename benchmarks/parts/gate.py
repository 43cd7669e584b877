"""Gate for releases.

Figures against those kept of the same card.
The file maps a card's name to figures, lower being better in all of them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.parts.table import Row

KEPT = Path("docs/performance/kept.json")
ALLOWED = 1.05  # a figure may be so many times the kept one

Figures = Mapping[str, float]


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Figures of a run that are kept, by name."""
    return {f"{row.figure} @ {row.at}": round(row.value, 5) for row in rows if row.value is not None}


def kept(card: str, file: Path = KEPT) -> Figures:
    """Kept figures of a card.

    Empty for a card that has none.
    """
    found: Figures = json.loads(file.read_text()).get(card, {}) if file.exists() else {}
    return found


def keep(card: str, measured: Figures, file: Path = KEPT) -> None:
    """Keep these figures.

    Others of the card, and other cards, stay.
    """
    everything = json.loads(file.read_text()) if file.exists() else {}
    everything[card] = {**everything.get(card, {}), **measured}
    file.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


def regressions(measured: Figures, before: Figures, models: Sequence[str]) -> Iterator[str]:
    """Lines of figures that got slower, or were not measured.

    Of `models` alone.
    """
    for name, old in before.items():
        if name.partition(":")[0] not in models:
            continue
        now = measured.get(name)
        if now is None:
            yield f"{name}: not measured, {old:g} before"
        elif now > ALLOWED * old:
            yield f"{name}: {now:g}, {old:g} before ({now / old - 1:+.0%})"
