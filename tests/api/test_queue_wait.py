"""The wait that a full engine foretells."""

from engine.api.queue_wait import FEWEST, LATELY, QueueWaitEstimator


def test_nothing_is_said_before_something_is_known() -> None:
    estimator = QueueWaitEstimator(4)
    for _ in range(FEWEST - 1):
        estimator.record(1.0)
    assert estimator.estimate(0) is None


def test_everybody_ahead_takes_a_share_of_the_places() -> None:
    estimator = QueueWaitEstimator(4)
    estimator.record(600.0)  # a warm-up that compiled for minutes
    for _ in range(FEWEST):
        estimator.record(2.0)
    assert [estimator.estimate(ahead) for ahead in (0, 3)] == [0.5, 2.0]


def test_only_what_was_lately_counts() -> None:
    estimator = QueueWaitEstimator(1)
    for held in (*[9.0] * LATELY, *[3.0] * LATELY):
        estimator.record(held)
    assert estimator.estimate(0) == 3.0
