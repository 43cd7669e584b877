"""Processes that share counts, as the fronts of a server do."""

import os
import random
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from engine.api.errors import EngineError
from qwentts_grpc.admission.call_rate import CallRate
from qwentts_grpc.admission.shared_counts import SharedCounts
from qwentts_grpc.admission.tenants import Shares
from qwentts_grpc.wire.caller import Caller

PATTERNS = (0x0101_0101_0101_0101, 0x7EFE_FEFE_FEFE_FEFE)  # differ in every byte
TENANTS = tuple(f"tenant {number}" for number in range(40))
MOST = 5  # units of a tenant in one process


def front(path: Path, index: int, orders: Connection) -> None:
    """Take, give or call for the tenant of each order; answers whether it was admitted."""
    counts = SharedCounts.open(path, index)
    shares, rate = Shares(100, "turns", limit=2, counts=counts), CallRate(5, counts)
    orders.send(os.getpid())
    while order := orders.recv():
        name, tenant = order
        act = {"take": shares.take, "give": shares.give, "call": rate.take}[name]
        try:
            act(Caller(tenant))
            orders.send(True)
        except EngineError:
            orders.send(False)


def hammer(path: Path, index: int, rounds: int, results: Connection) -> None:
    """Add and give back at random, then report what is still held."""
    counts, chance, held = SharedCounts.open(path, index), random.Random(index), Counter[str]()
    for _ in range(rounds):
        tenant = chance.choice(TENANTS)
        units = chance.randint(-held[tenant], MOST - held[tenant])
        held[tenant] += units
        counts.add("turns", tenant, units)
        assert 0 <= counts.others("turns", tenant) <= 2 * MOST
    results.send(held)
    results.recv()


def flicker(path: Path, index: int, results: Connection) -> None:
    """Publish two values in turn, with other keys coming and going around them, until told to end."""
    counts, number = SharedCounts.open(path, index), 0
    results.send(index)
    while not results.poll():
        for _ in range(100):
            number += 1
            counts.publish("moments", "steady", PATTERNS[number % 2])
            counts.publish("moments", TENANTS[number % 40], 5 * (number // 40 % 2))


def burst(path: Path, index: int, rate: float, seconds: float, results: Connection) -> None:
    """Call without a pause; report how many calls were admitted."""
    limit, admitted = CallRate(rate, SharedCounts.open(path, index)), 0
    results.send(index)
    results.recv()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            limit.take(Caller("acme"))
            admitted += 1
        except EngineError:
            pass
    results.send(admitted)
