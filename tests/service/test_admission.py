"""A full server refuses before any header, says when to come back, and a stock client's retry policy then works."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from qwentts_client.client import RETRIES, AsyncClient
from qwentts_client.v1 import tts_pb2_grpc
from tests.faults.devices import Steady

from .conftest import Running, config, failure, kinds, send, serving, text, turn

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

STEP = 0.01  # seconds


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(checkpoint: Path) -> AsyncIterator[Running]:
    """One slot, one place in the queue, and a short wait there."""
    async with serving(checkpoint, max_speeches=1, max_queue=1, queue_timeout=0.5) as running:
        with running.runner(lambda runner: Steady(running.eos, STEP)):
            yield running
        await running.idle()


async def hold(running: Running) -> Any:
    """A turn that has the slot."""
    call = running.stub.Synthesize(send([config(60.0), text("I hold the slot."), 60.0]))
    while not (await call.read()).HasField("audio"):
        pass
    return call


async def test_a_full_queue_refuses_at_once_with_a_time_to_retry(narrow: Running) -> None:
    holder = await hold(narrow)
    waiting = narrow.stub.Synthesize(send([config(), text("I wait.")]))
    await asyncio.sleep(0.1)
    call = narrow.stub.Synthesize(send([config(), text("No room.")]))
    refused = await failure(call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert refused.retry_milliseconds == int(refused.trailers["grpc-retry-pushback-ms"]) > 0
    assert not await call.initial_metadata()
    assert narrow.sample("tts_requests_rejected_total", reason="queue_full") >= 1
    holder.cancel()
    assert kinds([response async for response in waiting])[-1] == "summary"
    await narrow.idle()


async def test_a_wait_that_is_too_long_is_refused_before_headers(narrow: Running) -> None:
    holder = await hold(narrow)
    refused = await failure(narrow.stub.Synthesize(send([config(), text("I wait.")])))
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    holder.cancel()
    await narrow.idle()


async def test_a_retry_policy_replays_the_turn_until_there_is_room(narrow: Running) -> None:
    holder = await hold(narrow)
    waiting = await hold_queue(narrow)
    options = (("grpc.service_config", json.dumps(RETRIES)), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(narrow.address, options=options) as channel:
        patient = tts_pb2_grpc.TTSServiceStub(channel).Synthesize(send([config(), text("At last.")]), timeout=20)
        asyncio.get_running_loop().call_later(0.3, lambda: (waiting.cancel(), holder.cancel()))
        responses = [response async for response in patient]
    assert kinds(responses)[0] == "started" and kinds(responses)[-1] == "summary"
    assert narrow.sample("tts_retries_total") >= 1
    await narrow.idle()


async def hold_queue(running: Running) -> Any:
    call = running.stub.Synthesize(send([config(60.0), 60.0]))
    await asyncio.sleep(0.1)
    return call


async def test_a_deadline_that_the_queue_will_outlast_is_refused_at_once(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=1, max_queue=4) as busy:
        asked = config(0.8)
        asked.config.delivery.max_lead.FromMilliseconds(80)  # so that a turn takes as long as its audio
        for _ in range(3):
            await turn(busy, asked, text("This takes most of a second."))
        holder = await hold(busy)
        waiting = [busy.stub.Synthesize(send([config(), text("I wait.")])) for _ in range(2)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        refused = await failure(busy.stub.Synthesize(send([config(), text("Me too.")]), timeout=0.9))
        taken = time.monotonic() - began
        assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
        assert busy.sample("tts_requests_total", method="Synthesize", outcome="deadline") == 1
        assert busy.server.state.speeches == 3
        patient = busy.stub.Synthesize(send([config(), text("I have time.")]), timeout=30)
        holder.cancel()
        for call in (*waiting, patient):
            assert kinds([response async for response in call])[-1] == "summary"
        await busy.idle()
    print(f"a call that could not have been served in 0.9 s was refused after {1000 * taken:.0f} ms")


async def test_turns_that_wait_for_text_foretell_no_wait(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=1) as busy:
        for _ in range(3):
            busy.engine._speeches._wait_estimator.record(60.0)
        waiting = busy.stub.Synthesize(send([config(60.0), text("Well, let me "), 60.0]))
        while not (await waiting.read()).HasField("notice"):
            pass
        responses = [
            response async for response in busy.stub.Synthesize(send([config(), text("Me first.")]), timeout=20)
        ]
        assert kinds(responses)[-1] == "summary"
        waiting.cancel()
        holder = await hold(busy)
        refused = await failure(busy.stub.Synthesize(send([config(), text("Me first.")]), timeout=20))
        assert refused.reason == "DEADLINE"
        holder.cancel()
        await busy.idle()


async def test_started_tells_how_long_the_queue_was(narrow: Running) -> None:
    holder = await hold(narrow)
    asyncio.get_running_loop().call_later(0.2, holder.cancel)
    responses = await turn(narrow, config(), text("After you."))
    assert 100 <= responses[0].started.queue_wait.ToMilliseconds() <= 450
    assert responses[-1].summary.queue_wait == responses[0].started.queue_wait


async def test_a_caller_who_leaves_the_queue_gives_the_place_back(narrow: Running) -> None:
    holder = await hold(narrow)
    for _ in range(3):  # each would find the queue full if the one before still stood there
        waiting = narrow.stub.Synthesize(send([config(), text("I wait."), 60.0]))
        await asyncio.sleep(0.05)
        assert narrow.server.state.speeches == 2
        waiting.cancel()
        await asyncio.sleep(0.05)
        assert narrow.server.state.speeches == 1
    holder.cancel()


async def test_the_client_retries_too(narrow: Running) -> None:
    holder = await hold(narrow)
    waiting = await hold_queue(narrow)
    asyncio.get_running_loop().call_later(0.3, lambda: (waiting.cancel(), holder.cancel()))
    async with AsyncClient(narrow.address) as client:
        frames = [frame async for frame in client.synthesize("Hello.", voice="ryan", config=config().config)]
    assert frames[-1].last
