"""How long the next step may be left open."""

import pytest

from engine.runner.pacer import LEAST, MOST, StepPacer


def steady(steps: int) -> StepPacer:
    """Pacer after `steps` steps without an idle device."""
    pacer = StepPacer()
    for _ in range(steps):
        pacer.record_launch(underran=False)
    return pacer


def test_what_is_not_known_is_due_at_once() -> None:
    assert StepPacer().next_by("kind", 5.0) == 5.0


def test_the_margin_shrinks_to_its_least_while_the_device_is_busy() -> None:
    pacer = steady(500)
    pacer.observe("kind", 0.1)
    assert pacer.next_by("kind", 5.0) == pytest.approx(5.1 - LEAST)


def test_a_device_that_ran_dry_doubles_the_margin_up_to_its_most() -> None:
    pacer = steady(500)
    pacer.observe("kind", 0.1)
    for margin in (2 * LEAST, 4 * LEAST):
        pacer.record_launch(underran=True)
        assert pacer.next_by("kind", 5.0) == pytest.approx(5.1 - margin)
    for _ in range(9):
        pacer.record_launch(underran=True)
    assert pacer.next_by("kind", 5.0) == pytest.approx(5.1 - MOST)


def test_expectations_fall_at_once_and_rise_slowly() -> None:
    pacer = steady(500)
    pacer.observe("one", 0.1)
    pacer.observe("other", 0.3)
    pacer.observe("one", 9.0)
    assert pacer.next_by("one", 0.0) == pytest.approx(0.11 - LEAST)
    pacer.observe("one", 0.05)
    assert pacer.next_by("one", 0.0) == pytest.approx(0.05 - LEAST)
    assert pacer.next_by("other", 0.0) == pytest.approx(0.3 - LEAST)
