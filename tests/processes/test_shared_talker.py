"""A server whose talker is shared by two processes: it speaks, and ends with either of them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from qwentts_grpc.server.process import EXIT_FAULT
from tests.service.conftest import decoded
from tests.service.test_cli import launch

from .fleet import Fleet, channels, end, speak

FLAGS = ("--device", "cpu", "--tensor-parallel", "2", "--fronts", "0")


@pytest.fixture
def server(noise: Path, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(launch(noise, tmp_path / "log", *FLAGS))
    yield fleet
    end(fleet)


async def test_the_death_of_a_rank_is_that_of_the_engine(server: Fleet) -> None:
    (follower,) = server.supervisor.children()
    assert "engine.parallel.worker" in follower.cmdline()
    async with channels(server.own.server, 1) as (caller,):
        assert await speak(caller, seed=1, audio=0.32)
        follower.send_signal(signal.SIGKILL)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            while True:
                await speak(caller, seed=1, audio=4.0)
        failure = decoded(refused.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED")
    assert server.own.process.wait(30) == EXIT_FAULT
