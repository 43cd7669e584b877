"""Signals end the process, even where an orderly stop hangs."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from qwentts_grpc.server import process
from qwentts_grpc.server.process import EXIT_FAULT, Signals

pytestmark = [pytest.mark.asyncio, pytest.mark.timing]


@pytest_asyncio.fixture
async def exits(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """The exit codes with which the process would have ended."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(process, "SLACK", 0.1)
    monkeypatch.setattr(process, "CLOSE_LIMIT", 0.0)
    yield codes
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_stop_that_hangs_ends_when_its_time_is_over(exits: list[int]) -> None:
    signals = Signals(0.3)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.1)
    assert signals.stop.is_set() and not signals.force.is_set() and not exits
    await asyncio.sleep(0.4)
    assert exits == [EXIT_FAULT]


async def test_a_second_signal_makes_it_soon(exits: list[int]) -> None:
    signals = Signals(60.0)
    for _ in range(2):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.01)
    assert signals.force.is_set()
    await asyncio.sleep(0.3)
    assert exits == [EXIT_FAULT]
