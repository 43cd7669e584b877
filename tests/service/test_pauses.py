"""Pauses of the process: seen, and put down to what made them."""

import gc
import os
import time

import pytest

from qwentts_grpc.host.pauses import CAUSES, LEAST, Cause, PauseWatcher, Readings, likely_cause

pytestmark = pytest.mark.timing

NOTHING = Readings(0.0, 0.0, 0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize(
    ("cause", "during"),
    [
        ("collection", Readings(0.0, 0.0, 0.018, 0.0, 0.02, 0)),
        ("steal", Readings(0.02, 0.0, 0.0, 0.02, 0.0, 0)),
        ("page_faults", Readings(0.0, 0.0, 0.0, 0.0, 0.0, 3)),
        ("processor_taken", Readings(0.015, 0.0, 0.0, 0.0, 0.01, 0)),
        ("processor_taken", Readings(0.0, 0.015, 0.0, 0.0, 0.005, 0)),
        ("interpreter_lock", Readings(0.001, 0.0, 0.002, 0.0, 0.02, 0)),
        ("stopped", NOTHING),
    ],
)
def test_the_cause_is_what_explains_most(cause: Cause, during: Readings) -> None:
    assert cause in CAUSES
    assert likely_cause(0.02, during) == cause


def watched(work: str) -> list[tuple[float, Cause]]:
    pauses: list[tuple[float, Cause]] = []
    watcher = PauseWatcher(lambda late, cause: pauses.append((late, cause)))
    watcher.start()
    time.sleep(0.05)
    pauses.clear()
    exec(work)
    time.sleep(0.05)
    watcher.stop()
    return pauses


def test_a_held_lock_is_seen() -> None:
    late, cause = max(watched("sum(range(10_000_000))"))
    assert late >= LEAST
    assert cause in ("interpreter_lock", "processor_taken", "steal")  # the two last on a machine that is busy


def test_a_collection_is_seen() -> None:
    class Node:
        other: object

    nodes = []
    for _ in range(200_000):
        node = Node()
        node.other = node
        nodes.append(node)
    before = list(gc.callbacks)
    pauses = watched("import gc; gc.collect()")
    assert max(pauses)[0] >= LEAST
    assert gc.callbacks == before


def test_it_leaves_no_file_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    watched("pass")
    assert len(os.listdir("/proc/self/fd")) == before
