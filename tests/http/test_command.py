"""`qwentts-grpc http`: flags, TLS on both sides, a stop that lets speeches finish."""

import asyncio
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest

from qwentts_client.cli.command import Parser, UsageError
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.cli.http import HTTP
from tests.client import fake as scripts
from tests.client.background import Background
from tests.client.fake import PCM, Context, Fake, Requests
from tests.service.certificates import Authority

from .conftest import Door
from .test_first_byte import DOOR

WANTED = {"input": "Hello.", "response_format": "pcm"}


def run(*arguments: str) -> int:
    parser = Parser()
    HTTP.add(parser)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--voice-alias", "alloy"], "NAME=VOICE"),
        (["--voice-alias", "=joe"], "NAME=VOICE"),
        (["--allow-origin", "example.com"], "https://HOST"),
        (["--allow-origin", "https://example.com/path"], "https://HOST"),
        (["--https-cert", "c.pem"], "--https-key"),
        (["--https-cert", "/no/c.pem", "--https-key", "/no/k.pem", "--port", "0"], "/no/c.pem"),
        (["--port", "70000"], "70000"),
        (["--server", "http://x"], "--server"),
    ],
)
def test_wrong_flags(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        run(*arguments)


def test_a_port_that_is_taken(door: Door) -> None:
    with pytest.raises(UsageError, match="cannot serve on"):
        run("--port", str(door.port))


@contextmanager
def started(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL of a process of its own."""
    command = [sys.executable, "-c", DOOR, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("listening on ").strip().rstrip("/"), process
        finally:
            process.kill()


async def _slowly(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
    yield scripts.STARTED
    for index in range(10):
        yield scripts.frame(index)
        await asyncio.sleep(0.1)
    yield scripts.summary()


def test_a_stop_lets_a_speech_finish() -> None:
    with Background(_slowly) as fake, started("--server", fake.address) as (url, process):
        with httpx.stream("POST", f"{url}/v1/audio/speech", json=WANTED, timeout=20) as answer:
            chunks = answer.iter_bytes()
            heard = next(chunks)
            process.send_signal(signal.SIGTERM)
            heard += b"".join(chunks)
        assert heard == 10 * PCM
        assert process.wait(10) == 0


async def test_tls_on_both_sides(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("server")
    credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.cert.read_bytes())])
    https = ("--https-cert", str(pair.cert), "--https-key", str(pair.key))
    async with scripts.serving(credentials=credentials) as fake:
        with started("--server", fake.address, "--tls-ca", str(authority.cert), *https) as (url, _):
            context = ssl.create_default_context(cafile=authority.cert)
            async with httpx.AsyncClient(verify=context, timeout=20) as http:
                answer = await http.post(f"{url}/v1/audio/speech", json=WANTED)
    assert url.startswith("https://") and answer.content == PCM
