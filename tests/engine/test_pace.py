"""How long the next step may be left open."""

import pytest

from engine.runner.pacer import LEAST, MOST, StepPacer


def steady(steps: int) -> StepPacer:
    """After so many steps in which the device never ran dry."""
    pace = StepPacer()
    for _ in range(steps):
        pace.launched(dry=False)
    return pace


def test_what_is_not_known_is_due_at_once() -> None:
    assert StepPacer().next_by("kind", 5.0) == 5.0


def test_the_margin_shrinks_to_its_least_while_the_device_is_busy() -> None:
    pace = steady(500)
    pace.took("kind", 0.1)
    assert pace.next_by("kind", 5.0) == pytest.approx(5.1 - LEAST)


def test_a_device_that_ran_dry_doubles_the_margin_up_to_its_most() -> None:
    pace = steady(500)
    pace.took("kind", 0.1)
    for margin in (2 * LEAST, 4 * LEAST):
        pace.launched(dry=True)
        assert pace.next_by("kind", 5.0) == pytest.approx(5.1 - margin)
    for _ in range(9):
        pace.launched(dry=True)
    assert pace.next_by("kind", 5.0) == pytest.approx(5.1 - MOST)


def test_expectations_fall_at_once_and_rise_slowly() -> None:
    pace = steady(500)
    pace.took("one", 0.1)
    pace.took("other", 0.3)
    pace.took("one", 9.0)
    assert pace.next_by("one", 0.0) == pytest.approx(0.11 - LEAST)
    pace.took("one", 0.05)
    assert pace.next_by("one", 0.0) == pytest.approx(0.05 - LEAST)
    assert pace.next_by("other", 0.0) == pytest.approx(0.3 - LEAST)
