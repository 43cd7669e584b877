"""The wait that a full engine foretells."""

from engine.api.queue_wait import FEWEST, LATELY, QueueWaitEstimator


def test_nothing_is_said_before_something_is_known() -> None:
    turnover = QueueWaitEstimator(4)
    for _ in range(FEWEST - 1):
        turnover.left(1.0)
    assert turnover.wait(0) is None


def test_everybody_ahead_takes_a_share_of_the_places() -> None:
    turnover = QueueWaitEstimator(4)
    turnover.left(600.0)  # a warm-up that compiled for minutes
    for _ in range(FEWEST):
        turnover.left(2.0)
    assert [turnover.wait(ahead) for ahead in (0, 3)] == [0.5, 2.0]


def test_only_what_was_lately_counts() -> None:
    turnover = QueueWaitEstimator(1)
    for held in (*[9.0] * LATELY, *[3.0] * LATELY):
        turnover.left(held)
    assert turnover.wait(0) == 3.0
