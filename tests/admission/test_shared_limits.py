"""Limits of tenants, over all processes of a server."""

import random
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from qwentts_grpc.admission import call_rate
from qwentts_grpc.admission.call_rate import BURST, CallRate
from qwentts_grpc.admission.shared_counts import SharedCounts
from qwentts_grpc.admission.tenants import Access, Shares, Tenants
from qwentts_grpc.telemetry.tenant_metrics import TenantMetrics
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.errors import CallRateLimit, TenantLimit

from . import workers
from .conftest import Peer, Start


@pytest.fixture
def counts(supervisor: SharedCounts, path: Path) -> list[SharedCounts]:
    return [SharedCounts.open(path, index) for index in range(3)]


@pytest.fixture
def fronts(start: Start, path: Path) -> Iterator[list[Peer]]:
    peers = [start(workers.front, path, index)[1] for index in range(3)]
    for peer in peers:
        assert peer.answer()
    yield peers
    for peer in peers:
        peer.end()


def greedy(shares: list[Shares], caller: Caller) -> int:
    """How much the caller can take, one by one, of each process in turn."""
    taken = 0
    with pytest.raises(TenantLimit):
        for each in cycle(shares):
            each.take(caller)
            taken += 1
    return taken


def test_a_limit_of_two_admits_two_over_three_processes(fronts: list[Peer]) -> None:
    assert [front.ask("take", "acme") for front in (*fronts, *fronts)] == [True, True, False, False, False, False]
    assert [front.ask("take", "globex") for front in reversed(fronts)] == [True, True, False]
    fronts[0].ask("give", "acme")
    assert [front.ask("take", "acme") for front in reversed(fronts)] == [True, False, False]


def test_a_rate_of_five_admits_ten_at_once_over_three_processes(fronts: list[Peer]) -> None:
    began = time.monotonic()
    admitted = sum(fronts[number % 3].ask("call", "acme") for number in range(30))
    assert 10 <= admitted <= 11 + 5 * (time.monotonic() - began)
    assert fronts[0].ask("call", "globex")


def test_a_share_is_one_over_all_processes(counts: list[SharedCounts]) -> None:
    shares = [Shares(80, "turns", counts=each) for each in counts]
    taken = [greedy(shares, Caller(f"tenant {number}")) for number in range(4)]
    assert taken == [64, 13, 3, 0]
    assert {each.free for each in shares} == {0}
    for each in shares:
        for _ in range(each.held["tenant 0"]):
            each.give(Caller("tenant 0"))
    assert {each.free for each in shares} == {64} and "tenant 0" not in shares[0].held


@pytest.mark.parametrize("known", [12, 200])
def test_what_is_reserved_is_as_for_one_process(counts: list[SharedCounts], known: int) -> None:
    names = [f"tenant {number}" for number in range(known)]
    shares = [Shares(80, "turns", lambda: frozenset(names), counts=each) for each in counts]
    alone = Shares(80, "turns", lambda: frozenset(names))
    for name in names[:12]:
        assert greedy(shares, Caller(name)) == greedy([alone], Caller(name))


def test_random_turns_are_admitted_as_by_one_process(counts: list[SharedCounts]) -> None:
    chance, names = random.Random(3), [f"tenant {number}" for number in range(9)]
    for limit in (0, 4):
        shares = [Shares(40, f"turns {limit}", lambda: frozenset(names[:6]), limit, counts=each) for each in counts]
        alone = Shares(40, "turns", lambda: frozenset(names[:6]), limit)
        open_turns: list[tuple[Shares, Caller]] = []
        for _ in range(3_000):
            if open_turns and chance.random() < 0.45:
                each, caller = open_turns.pop(chance.randrange(len(open_turns)))
                each.give(caller)
                alone.give(caller)
                continue
            each, caller = chance.choice(shares), Caller(chance.choice(["", *names]))
            admitted = [takes(one, caller) for one in (each, alone)]
            assert admitted[0] == admitted[1]
            if admitted[0]:
                open_turns.append((each, caller))
            assert each.free == alone.free


def takes(shares: Shares, caller: Caller) -> bool:
    try:
        shares.take(caller)
    except TenantLimit:
        return False
    return True


def test_turns_of_each_model_are_limited_over_processes(counts: list[SharedCounts]) -> None:
    tenants = [
        Tenants(Access(tenant_limit=1), 8, 2, 40, frozenset, TenantMetrics(CollectorRegistry()), counts=each)
        for each in counts
    ]
    acme = Caller("acme")
    with tenants[0].speech(acme, "a"), tenants[1].speech(acme, "b"), tenants[0].turn(acme):
        with pytest.raises(TenantLimit), tenants[2].speech(acme, "a"):
            pass
        with pytest.raises(TenantLimit), tenants[2].turn(acme):
            pass
        with tenants[2].turn(Caller("globex")):
            pass
    with tenants[2].speech(acme, "a"), tenants[1].turn(acme):
        assert tenants[0].turns.free == 15


@pytest.mark.parametrize("per_second", [0.2, 0.5, 3, 1_000])
def test_calls_are_admitted_as_by_one_process(
    counts: list[SharedCounts], per_second: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=10**15)
    monkeypatch.setattr(call_rate, "time", SimpleNamespace(monotonic_ns=lambda: clock.now))
    rates, alone, chance = [CallRate(per_second, each) for each in counts], CallRate(per_second), random.Random(9)
    admitted = 0
    for _ in range(2_000):
        clock.now += round(chance.expovariate(1.5 * per_second) * 1e9)
        waits = [wait(rate) for rate in (chance.choice(rates), alone)]
        assert waits[0] == waits[1]
        admitted += waits[0] is None
    elapsed = (clock.now - 10**15) / 1e9
    assert 0.5 * per_second * elapsed < admitted <= 1 + (BURST + elapsed) * per_second


def wait(rate: CallRate) -> float | None:
    """Seconds to wait; None for an admitted call."""
    try:
        rate.take(Caller("acme"))
    except CallRateLimit as error:
        return error.retry_after
    return None


class Overtaken:
    """Counts of a process that another overtakes, once, between its reading and its writing."""

    def __init__(self, counts: SharedCounts, other: CallRate) -> None:
        self._counts, self._others = counts, [other]

    def publish(self, resource: str, tenant: str, moment: int) -> None:
        while self._others:
            self._others.pop().take(Caller(tenant))
        self._counts.publish(resource, tenant, moment)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._counts, name)


def test_calls_of_one_moment_are_all_counted(counts: list[SharedCounts], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_rate, "time", SimpleNamespace(monotonic_ns=lambda: 10**15))
    overtaking = CallRate(5, counts[1])
    overtaken: Any = Overtaken(counts[0], overtaking)
    rates = [CallRate(5, overtaken), overtaking, CallRate(5, counts[2])]
    assert [wait(rates[number % 3]) for number in range(9)] == [None] * 9  # with the one that overtook, ten
    assert [wait(rate) for rate in rates] == [0.2] * 3


def test_a_rate_holds_while_processes_call_without_a_pause(start: Start, path: Path) -> None:
    peers = [start(workers.burst, path, index, 100.0, 1.0)[1] for index in range(3)]
    for peer in peers:
        peer.answer()
    began = time.monotonic()
    for peer in peers:
        peer.end()
    admitted = sum(peer.answer() for peer in peers)
    allowed = 100 * (BURST + time.monotonic() - began)
    assert 200 <= admitted <= 1.1 * allowed


@pytest.mark.timing
def test_a_take_over_four_processes_costs_under_10_us_of_cpu_time(path: Path) -> None:
    SharedCounts.create(path, 4).close()
    shares = [Shares(10_000, "turns", counts=SharedCounts.open(path, index)) for index in range(4)]
    callers = [Caller(f"tenant {number}") for number in range(200)]
    for caller in callers:
        for each in shares[1:]:
            each.take(caller)
    best = min(cost(shares[0], callers) for _ in range(100))
    assert best < 10e-6


def cost(shares: Shares, callers: list[Caller]) -> float:
    began = time.thread_time()
    for caller in callers:
        shares.take(caller)
    took = time.thread_time() - began
    for caller in callers:
        shares.give(caller)
    return took / len(callers)
