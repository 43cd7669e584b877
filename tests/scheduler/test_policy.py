"""Under load, in simulated time: listeners are never interrupted, and newcomers are heard soon at any rate."""

import pytest

from benchmarks.load.figures import Spread
from benchmarks.parts.policy import Simulation


@pytest.mark.parametrize(("rate", "p95"), [(20, 20), (100, 40)])
def test_a_rate_is_held(rate: float, p95: float) -> None:
    run = Simulation(rate, 5.0).run()
    assert run.firsts
    assert not run.interrupted
    assert Spread.of(run.firsts).p95 < p95


def test_more_than_a_device_can_do_is_late_at_the_start_and_nowhere_else() -> None:
    run = Simulation(300, 2.0).run()
    assert Spread.of(run.firsts).p95 > 300
    assert not run.interrupted
