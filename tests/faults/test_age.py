"""Connections and calls that grow old, and callers who begin many calls: an end for each, and none that is abrupt."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc
from qwentts_grpc.admission import call_rate
from qwentts_grpc.admission.call_rate import CallRate
from qwentts_grpc.rpc import connections
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.errors import CallRateLimit
from tests.service.conftest import config, failure, kinds, send, serving, text, turn

from .http2 import GOAWAY, Connection, connected

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]


async def test_an_old_connection_ends_its_calls_and_takes_no_more(checkpoint: Path) -> None:
    async with serving(checkpoint, config={"max_connection_age": 1.0}) as running:
        long = asyncio.create_task(turn(running, config(), text("I go on "), 2.5, text("and on.")))
        async with connected(running.port) as idle:
            began = time.monotonic()
            while time.monotonic() < began + 3:  # no call notices that its connection is renewed
                await running.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=5)
                await asyncio.sleep(0.02)
            assert any(frame.kind == GOAWAY for frame in idle.frames)
            await asyncio.wait_for(idle.closed.wait(), 5)
        assert kinds(await long)[-1] == "summary"


async def test_a_turn_ends_when_it_is_too_old(checkpoint: Path) -> None:
    async with serving(checkpoint, config={"max_call_age": 0.5}) as running:
        asked = config(60.0)
        asked.config.delivery.input_idle_timeout.FromSeconds(0)
        began = time.monotonic()
        refused = await failure(running.stub.Synthesize(send([asked, text("I wait "), 60.0])))
        assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "CALL_AGE")
        assert 0.4 < time.monotonic() - began < 2
        await running.idle()
        assert running.sample("tts_requests_total", method="Synthesize", outcome="call_age") == 1


async def test_more_connections_than_there_may_be_are_closed(checkpoint: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(connections, "MOST", 5)
    async with serving(checkpoint) as running:
        await running.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=5)
        strangers = [await Connection.open(running.port) for _ in range(8)]
        await asyncio.sleep(0.5)
        assert [stranger.closed.is_set() for stranger in strangers] == [False] * 4 + [True] * 4
        await running.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=5)
        strangers.pop(0).abort()
        await asyncio.sleep(0.2)
        async with connected(running.port) as another:
            await asyncio.sleep(0.2)
            assert not another.closed.is_set()
        for stranger in strangers:
            stranger.abort()


async def test_calls_a_second_of_one_tenant(checkpoint: Path) -> None:
    async with serving(checkpoint, config={"max_call_rate": 5.0}) as running:
        info = running.stub.GetServerInfo
        for _ in range(10):
            await info(pb.GetServerInfoRequest(), timeout=5)
        refused = await failure(info(pb.GetServerInfoRequest(), timeout=5))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT")
        assert refused.retry_milliseconds is not None and 0 < refused.retry_milliseconds <= 200
        speech = tts_pb2_grpc.TTSServiceStub(running.channel).Synthesize(send([config(), text("Hi.")]))
        assert (await failure(speech)).reason == "RATE_LIMIT"
        assert running.sample("tts_requests_total", method="Synthesize", outcome="rejected") == 1
        await asyncio.sleep(0.25)
        await info(pb.GetServerInfoRequest(), timeout=5)


async def test_each_tenant_has_a_rate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_rate, "MOST", 2)
    rate, acme, globex = CallRate(0.5), Caller("acme"), Caller("globex")
    rate.take(acme)
    with pytest.raises(CallRateLimit):
        rate.take(acme)
    rate.take(globex)
    for number in range(10):  # hosts stand for themselves, and are not kept for ever
        rate.take(Caller(peer=f"ipv4:10.0.0.{number}:80"))
    assert len(rate._buckets) == 2
    for _ in range(100):
        CallRate(0).take(acme)
