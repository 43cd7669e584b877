"""A fleet on three Ray nodes: hosts lost, restarts, scaling, voices."""

import asyncio
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client import AsyncClient, TTSError
from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Load, kill_host

pytestmark = [pytest.mark.timing, pytest.mark.timeout(400)]


async def test_a_lost_host_loses_its_open_turns_alone_and_is_replaced(cluster: Any, fleet: Callable[..., Any]) -> None:
    async with fleet(least=2) as running:
        state = await running.serving(2)
        async with Load(state.addresses).running() as load:
            await load.until(whole=4)
            lost = await asyncio.to_thread(kill_host, cluster, [server.pid for server in state.servers.values()])
            spoken = load.whole
            await load.until(whole=spoken + 4)
            await running.until(lambda now: len(running.addresses(now)) == 2 and lost not in running.pids(now))
            await load.until(whole=load.whole + 4)
        print(f"a host lost: {load}")
        assert not load.unbegun_lost
        assert {error.code() for error in load.begun_lost} <= {grpc.StatusCode.UNAVAILABLE}
        assert len(load.begun_lost) <= load.callers


async def test_a_rolling_restart_under_load_loses_no_turn(fleet: Callable[..., Any]) -> None:
    async with fleet(least=2) as running:
        state = await running.serving(2)
        before = {server.pid for server in state.servers.values()}
        async with Load(state.addresses).running() as load:
            await running.controller.restart.remote()
            await load.until(whole=load.whole + 4)
        after = await running.serving(2)
        print(f"a rolling restart: {load}")
        assert not before & {server.pid for server in after.servers.values()}
        assert load.whole and not load.begun_lost and not load.unbegun_lost


async def test_servers_follow_load_within_thirty_seconds(fleet: Callable[..., Any]) -> None:
    async with fleet(least=1, down_after=5.0) as running:
        state = await running.serving(1)
        began = time.monotonic()
        async with Load(state.addresses, callers=8).running() as load:
            await running.until(lambda now: len(running.addresses(now)) == 3)
            up = time.monotonic() - began
            await load.until(whole=load.whole + 8)
        began = time.monotonic()
        await running.serving(1)
        down = time.monotonic() - began
        print(f"1 to 3 servers in {up:.1f} s, back in {down:.1f} s")
        assert up < 30 and down < 30
        assert load.whole and not load.begun_lost and not load.unbegun_lost


async def test_a_created_voice_speaks_from_every_server_until_it_is_deleted(
    fleet: Callable[..., Any], tmp_path: Path
) -> None:
    base_checkpoint = write_checkpoint(tmp_path / "tiny-base", "0.6B-Base", seed=5)
    serve = ("--model", str(base_checkpoint), "--voice-dir", str(tmp_path / "voices"))
    async with fleet(least=3, command=(sys.executable, "-m", "qwentts_grpc"), serve=serve) as running:
        state = await running.serving(3)
        clients = [AsyncClient(address) for address in running.addresses(state)]
        await clients[0].create_voice("anna", recording(), transcript="A tone.")
        await asyncio.sleep(5)
        assert [await spoken(client, "anna") for client in clients] == ["OK"] * 3
        await clients[1].delete_voice("anna")
        await asyncio.sleep(5)
        assert [await spoken(client, "anna") for client in clients] == ["VOICE_NOT_FOUND"] * 3
        for client in clients:
            await client.aclose()


async def spoken(client: AsyncClient, voice: str) -> str:
    """How a turn with this voice ends."""
    config = pb.SynthesisConfig()
    config.sampling.max_audio.FromMilliseconds(160)
    try:
        async with client.synthesize("Hi.", voice=voice, config=config, paced=False, timeout=60) as turn:
            return "OK" if [frame async for frame in turn] else "silence"
    except TTSError as error:
        return error.reason


def recording(seconds: float = 2.0) -> bytes:
    """A tone as a WAV file."""
    file, times = io.BytesIO(), np.arange(int(24_000 * seconds)) / 24_000
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * 220 * times), 24_000, format="WAV")
    return file.getvalue()
