"""Connections that send no request lose their place; those with one keep it."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from qwentts_grpc.http import head_timeout
from tests.client.fake import Fake

from .conftest import Door

LIMIT = 0.3  # seconds
HEAD = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_timeout, "HEAD_TIMEOUT", LIMIT)


@pytest.fixture
def bare(door: Door) -> Iterator[socket.socket]:
    with door.connected() as bare:
        bare.settimeout(10 * LIMIT)
        yield bare


def test_a_silent_connection_is_closed(bare: socket.socket) -> None:
    assert bare.recv(1) == b""


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"], ids=["at once", "after a request"])
def test_a_dripping_head_is_closed(bare: socket.socket, before: bytes) -> None:
    bare.sendall(before)
    until = time.monotonic() + 20 * LIMIT
    with pytest.raises(OSError):
        for byte in HEAD * 10:
            bare.sendall(bytes([byte]))
            time.sleep(LIMIT / 10)
            assert time.monotonic() < until


def test_requests_and_sockets_that_last_are_kept(fake: Fake, door: Door) -> None:
    with connect(f"ws://127.0.0.1:{door.port}/live") as live, httpx.Client(base_url=door.url) as client:
        for _ in range(3):
            assert client.get("/livez").status_code == 200
            time.sleep(0.8 * LIMIT)
        time.sleep(3 * LIMIT)
        live.send('{"voice": "joe"}')
        live.send('{"text": "Hello.", "end": true}')
        assert live.recv(timeout=10)
