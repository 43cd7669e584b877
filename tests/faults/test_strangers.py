"""What a caller without a token can send, and what nobody else may notice of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from qwentts_grpc.v1 import tts_pb2 as pb
from tests.service.conftest import Running

from .conftest import steady
from .http2 import connected
from .witness import witness

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATHS = [b"/\xff", b"\xff" * 4_000, b"/qwentts.v1.TTSService/\xc3", b"/\xed\xa0\x80/x"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with steady(checkpoint, step_seconds=0.002, max_speeches=8) as running:
        yield running


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path[:40]))
async def test_a_path_that_is_not_utf8_is_an_unknown_method(server: Running, path: bytes) -> None:
    async with witness(server), connected(server.port) as stranger:
        stranger.call(path)
        async with asyncio.timeout(5):
            while 1 not in stranger.ended():
                await asyncio.sleep(0.01)
        assert b"grpc-status\x0212" in stranger.text()
    assert (await server.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=5)).models


async def test_what_is_not_utf8_stays_an_error_everywhere_else(server: Running) -> None:
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode()
    with pytest.raises(UnicodeEncodeError):
        "\ud800".encode()
