"""Schedule of a trial: a reproducible Poisson process, with texts."""

import math
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count, islice


def arrivals(seed: int, phase: str, rate: float, seconds: float) -> list[float]:
    """Times of a phase's requests in seconds, ascending, below `seconds`.

    The gap before request i is exponential with mean 1 / `rate`, drawn from a hash of seed, phase and i. The same
    seed at twice the rate is the same sequence at twice the speed.
    """
    return list(_below(seconds, _times(seed, phase, rate)))


def prompt_order(seed: int, phase: str, ids: Sequence[str], requests: int) -> list[str]:
    """The prompt of each request.

    All `ids` once an epoch, shuffled anew for each epoch.
    """
    return list(islice(_epochs(seed, phase, ids), requests))


def _times(seed: int, phase: str, rate: float) -> Iterator[float]:
    time = 0.0
    for slot in count():
        digest = _hash("poisson", seed, phase, slot)
        uniform = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
        time += -math.log1p(-uniform) / rate
        yield time


def _below(limit: float, times: Iterator[float]) -> Iterator[float]:
    for time in times:
        if time >= limit:
            return
        yield time


def _epochs(seed: int, phase: str, ids: Sequence[str]) -> Iterator[str]:
    for epoch in count():
        yield from sorted(ids, key=lambda name: _hash("prompt-order", seed, phase, epoch, name))


def _hash(purpose: str, *parts: object) -> bytes:
    return sha256("\0".join([f"tts-bench/{purpose}/v1", *map(str, parts)]).encode()).digest()
