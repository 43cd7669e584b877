"""The gate of `make bench-gpu`: slower than kept by more than 5 % fails, on the same card alone."""

from pathlib import Path

from benchmarks.parts.gate import figures, keep, kept, regressions
from benchmarks.parts.table import Row

ROWS = [
    Row("1.7B: frame, ms", "8 rows", "3.00", value=3.0),
    Row("1.7B: codec, ms", "1 streams x 1", "0.70", value=0.7),
    Row("1.7B: GPU memory, MiB", "start / end", "60123 / 60123"),
]
NAMES = ("1.7B: frame, ms @ 8 rows", "1.7B: codec, ms @ 1 streams x 1")


def test_only_numbers_are_kept() -> None:
    assert figures(ROWS) == dict(zip(NAMES, (3.0, 0.7), strict=True))


def test_a_figure_may_be_five_percent_slower() -> None:
    before = figures(ROWS)
    assert not list(regressions({NAMES[0]: 3.14, NAMES[1]: 0.2}, before, ["1.7B"]))
    (slower,) = regressions({NAMES[0]: 3.16, NAMES[1]: 0.7}, before, ["1.7B"])
    assert slower == "1.7B: frame, ms @ 8 rows: 3.16, 3 before (+5%)"


def test_a_kept_figure_must_be_measured_for_a_model_that_was_run() -> None:
    before = figures(ROWS)
    assert list(regressions({NAMES[1]: 0.7}, before, ["1.7B"])) == ["1.7B: frame, ms @ 8 rows: not measured, 3 before"]
    assert not list(regressions({}, before, ["0.6B"]))


def test_cards_are_kept_apart(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    assert kept("a card", file) == {}
    keep("a card", {"x": 1.0, "y": 2.0}, file)
    keep("a card", {"y": 3.0}, file)
    keep("another", {"x": 9.0}, file)
    assert kept("a card", file) == {"x": 1.0, "y": 3.0}
    assert kept("another", file) == {"x": 9.0}
