"""A server process that is started again when it ends, and drained when it shall end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable

import pytest_asyncio

from qwentts_fleet import process
from qwentts_fleet.process import Supervised

SERVER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), sys.exit(0)))
print("metrics on http://127.0.0.1:1/metrics", flush=True)
print("serving on 127.0.0.1:2", flush=True)
time.sleep(600)
"""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Supervised]:
    made = Supervised([sys.executable, "-c", SERVER], drain=5.0)
    task = asyncio.create_task(made.run())
    await until(lambda: bool(made.address))
    yield made
    await made.stop()
    await asyncio.wait_for(task, 10)


async def test_addresses_are_known_once_it_serves(server: Supervised) -> None:
    assert server.address == "127.0.0.1:2" and server.metrics == "http://127.0.0.1:1/metrics"


async def test_one_that_was_killed_is_started_again(server: Supervised) -> None:
    before = server.pid
    os.kill(before, signal.SIGKILL)
    await until(lambda: server.pid not in (0, before) and bool(server.address))
    assert server.restarts == 1


async def test_a_restart_waits_for_the_drain_and_hides_the_address_meanwhile(server: Supervised) -> None:
    before = server.pid
    restart = asyncio.create_task(server.restart())
    await asyncio.sleep(0)
    assert not server.address
    await restart
    await until(lambda: server.pid not in (0, before) and bool(server.address))


async def test_a_stopped_one_stays_stopped(server: Supervised) -> None:
    await server.stop()
    await until(lambda: server.pid == 0)
    await asyncio.sleep(2 * process.FIRST_WAIT)
    assert server.pid == 0 and not server.address


async def test_one_that_never_serves_is_tried_ever_more_seldom() -> None:
    broken = Supervised([sys.executable, "-c", "raise SystemExit(3)"], drain=1.0)
    task = asyncio.create_task(broken.run())
    await until(lambda: broken.restarts >= 2)
    await broken.stop()
    await asyncio.wait_for(task, 10)
    assert broken.restarts < 5
