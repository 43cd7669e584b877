"""Requests as large as they may be: whoever speaks beside them goes on as in a quiet hour."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb
from tests.service.conftest import Running, cancel, config, text, turn
from tests.service.test_kinds import clone, recording

from .conftest import steady
from .witness import Witness, witness

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

GIANTS = 4  # at once
LONG = ("This is a sentence of a text that takes an hour to speak. " * 1_100)[:60_000]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The witness speaks on a device without a model; clones on a real one, with what it costs the processor."""
    base = write_checkpoint(tmp_path_factory.mktemp("giants") / "tiny-base", "0.6B-Base", seed=5)
    async with steady(checkpoint, step_seconds=0.002, max_speeches=8, more=[base]) as running:
        yield running
        await running.idle()


async def quiet(server: Running) -> float:
    """The longest gap of a hundred, in milliseconds, with nobody else there."""
    async with witness(server) as heard:
        await asyncio.sleep(3)
    return heard.worst


def tell(heard: Witness, before: float, giants: str) -> None:
    """Print how long the witness waited; a second would be a stall whatever the machine."""
    print(f"gap p99 beside {giants} {heard.worst:.0f} ms, alone {before:.0f} ms")
    assert heard.worst < 1_000


async def first_audio(server: Running, asked: pb.SynthesizeRequest, words: str) -> None:
    """A turn in one message, up to its first audio."""
    request = pb.SynthesizeTextRequest(config=asked.config, text=words)
    call = server.stub.SynthesizeText(request, timeout=60)
    while (response := await call.read()) is not grpc.aio.EOF:
        if response.HasField("audio"):
            call.cancel()
            return
    raise AssertionError("no audio came")


@pytest.mark.parametrize("mode", [pb.TEXT_MODE_WHOLE, pb.TEXT_MODE_INCREMENTAL], ids=["whole", "incremental"])
async def test_texts_of_full_length(server: Running, mode: pb.TextMode) -> None:
    before = await quiet(server)
    asked = config(60.0)
    asked.config.delivery.text_mode = mode
    async with witness(server) as heard:
        for _ in range(5):
            await asyncio.gather(*(first_audio(server, asked, LONG) for _ in range(GIANTS)))
    tell(heard, before, f"{GIANTS} texts of {len(LONG)} characters at a time")


async def test_a_text_of_full_length_by_the_token(server: Running) -> None:
    before = await quiet(server)
    pieces = [text(LONG[start : start + 4]) for start in range(0, len(LONG), 4)]
    async with witness(server) as heard:
        responses = await turn(server, config(60.0), *pieces, cancel())
    assert responses[-1].summary.text_characters == len(LONG)
    tell(heard, before, f"{len(pieces)} pieces of a text")


async def test_recordings_of_full_length(server: Running) -> None:
    before = await quiet(server)
    asked = clone(recording(59.5, rate=44_100), transcript="A tone, for a minute.")
    async with witness(server) as heard:
        await asyncio.gather(*(first_audio(server, asked, "Now speak.") for _ in range(GIANTS)))
    tell(heard, before, f"{GIANTS} recordings of a minute")
