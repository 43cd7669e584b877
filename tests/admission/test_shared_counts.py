"""Counts of several processes: exact, without locks, whichever of them dies."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from qwentts_grpc.admission.counts import LOCAL
from qwentts_grpc.admission.shared_counts import SharedCounts
from qwentts_grpc.admission.shared_table import Table, Writer

from . import workers
from .conftest import Start


def opened(path: Path, processes: int = 3, **sizes: int) -> list[SharedCounts]:
    SharedCounts.create(path, processes, **sizes).close()
    return [SharedCounts.open(path, index) for index in range(processes)]


def test_others_are_all_but_oneself(path: Path) -> None:
    one, two, three = opened(path)
    one.add("turns", "acme", 2)
    two.add("turns", "acme", 3)
    two.add("turns", "", 4)
    two.add("calls", "acme", 7)
    assert [counts.others("turns", "acme") for counts in (one, two, three)] == [3, 2, 5]
    assert [counts.others_total("turns") for counts in (one, two, three)] == [7, 2, 9]
    two.add("turns", "acme", -3)
    assert (one.others("turns", "acme"), one.others("turns", ""), one.others_total("turns")) == (0, 4, 4)


def test_the_latest_moment_is_that_of_others(path: Path) -> None:
    one, two, three = opened(path)
    assert one.latest("calls", "acme") == 0
    two.publish("calls", "acme", 5)
    three.publish("calls", "acme", 2**62)
    assert [counts.latest("calls", "acme") for counts in (one, two, three)] == [2**62, 2**62, 5]
    three.publish("calls", "acme", 0)
    assert one.latest("calls", "acme") == 5


def test_a_supervisor_sees_all_but_holds_nothing(supervisor: SharedCounts, path: Path) -> None:
    SharedCounts.open(path, 1).add("turns", "acme", 2)
    assert (supervisor.others("turns", "acme"), supervisor.others_total("turns")) == (2, 2)
    with pytest.raises(RuntimeError):
        supervisor.add("turns", "acme", 1)


def test_a_process_begins_with_nothing(path: Path) -> None:
    one, two, _ = opened(path)
    two.add("turns", "acme", 2)
    SharedCounts.open(path, 1)
    assert (one.others("turns", "acme"), one.others_total("turns")) == (0, 0)


def test_a_new_file_leaves_those_alone_who_have_the_old_one(path: Path) -> None:
    one, two, _ = opened(path)
    fresh = opened(path)[0]
    two.add("turns", "acme", 2)
    assert (one.others("turns", "acme"), fresh.others("turns", "acme")) == (2, 0)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_beyond_the_processes_is_refused(supervisor: SharedCounts, path: Path, index: int) -> None:
    with pytest.raises(ValueError, match="no process"):
        SharedCounts.open(path, index)


@pytest.mark.parametrize("content", [bytes(10_000), b"qwttscn1" + bytes(10_000), b"short"])
def test_another_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match="shared counts"):
        SharedCounts.open(path, 0)


def test_tenants_beyond_the_bound_count_in_the_total(path: Path) -> None:
    one, two = opened(path, 2, tenants=8)
    names = [f"tenant {number}" for number in range(100)]
    for name in names:
        one.add("turns", name, 1)
    seen = [name for name in names if two.others("turns", name)]
    assert len(seen) == 39 and two.others_total("turns") == 100  # forty keys, the total's among them
    for name in names[:50]:
        one.add("turns", name, -1)
    one.add("turns", names[99], 2)
    assert two.others("turns", names[99]) == 3 and two.others_total("turns") == 52  # there is room again
    for name in names[50:99]:
        one.add("turns", name, -1)
    one.add("turns", names[99], -3)
    assert two.others_total("turns") == 0 and not any(two.others("turns", name) for name in names)


def test_a_table_stays_right_while_keys_come_and_go() -> None:
    chance, slots = random.Random(4), 64
    table = Table(memoryview(bytearray(slots * 24)).cast("q"), slots)
    writer, expected = Writer(table, 40), Counter[tuple[int, int]]()
    keys = [
        (chance.choice((5, 6, 63)) + 64 * number, -number) for number in range(1, 200)
    ]  # few homes, so long searches
    for _ in range(20_000):
        key = chance.choice(keys)
        value = chance.choice((0, 0, 7, chance.randint(1, 2**62)))
        if value == 0 or key in expected or len(expected) < 40:
            writer.put(key, value)
            expected[key] = value
            expected = +expected
        probe = chance.choice(keys)
        assert table.get(probe) == expected[probe]
    for key in keys:
        writer.put(key, 0)
    assert not any(table.first) and not any(table.values)


def test_one_process_alone_has_no_others() -> None:
    LOCAL.add("turns", "acme", 1)
    LOCAL.publish("calls", "acme", 1)
    assert LOCAL.others("turns", "acme") == LOCAL.others_total("turns") == LOCAL.latest("calls", "acme") == 0


# ---- real processes


def test_processes_that_count_at_once_lose_nothing(supervisor: SharedCounts, start: Start, path: Path) -> None:
    peers = [start(workers.hammer, path, index, 5_000)[1] for index in range(3)]
    reports = [peer.answer() for peer in peers]
    held = sum(reports, Counter[str]())
    assert held.total() > 0
    assert {name: supervisor.others("turns", name) for name in workers.TENANTS} == {
        name: held[name] for name in workers.TENANTS
    }
    assert supervisor.others_total("turns") == held.total()
    for peer in peers:
        peer.end()


def test_counts_of_a_killed_process_vanish_once_cleared(supervisor: SharedCounts, start: Start, path: Path) -> None:
    peers = [start(workers.hammer, path, index, 500) for index in range(2)]
    left, lost = [peer.answer() for _, peer in peers]
    peers[1][0].kill()
    peers[1][0].join(10)
    assert supervisor.others_total("turns") == left.total() + lost.total()
    supervisor.clear(1)
    assert supervisor.others_total("turns") == left.total()
    assert all(supervisor.others("turns", name) == left[name] for name in workers.TENANTS)


def test_a_process_killed_while_it_writes_can_be_replaced(supervisor: SharedCounts, start: Start, path: Path) -> None:
    for _ in range(2):
        process, peer = start(workers.flicker, path, 0)
        peer.answer()
        time.sleep(0.05)
        process.kill()
        process.join(10)
        supervisor.clear(0)
        assert supervisor.latest("moments", "steady") == 0
    counts = SharedCounts.open(path, 0)
    counts.publish("moments", "steady", 3)
    assert supervisor.latest("moments", "steady") == 3


def test_no_reader_sees_a_torn_value(supervisor: SharedCounts, start: Start, path: Path) -> None:
    writers = [start(workers.flicker, path, index)[1] for index in range(2)]
    for writer in writers:
        writer.answer()
    seen, others = Counter[int](), Counter[int]()
    ends = time.monotonic() + 30
    while time.monotonic() < ends and (seen.total() < 10_000 or len(seen) < 2 or len(others) < 2):
        for tenant in workers.TENANTS:
            seen[supervisor.latest("moments", "steady")] += 1
            others[supervisor.latest("moments", tenant)] += 1
    assert seen.keys() <= {0, *workers.PATTERNS} and min(seen[pattern] for pattern in workers.PATTERNS) > 0
    assert others.keys() == {0, 5}
    for writer in writers:
        writer.end()
