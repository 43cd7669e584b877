"""Texts up to the limit: spoken in segments that nobody sees, and none of it dropped."""

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Running, config, failure, flush, kinds, pcm, serving, text, turn
from .fakes import Ending
from .test_turns import assert_same_audio, check_laws

pytestmark = pytest.mark.asyncio(loop_scope="session")

SENTENCE = "This is a sentence of a long text, and sixty characters long. "
LONG = (SENTENCE * 1_000)[:60_000]
SEGMENTS = math.ceil(60_000 / (17 * len(SENTENCE)))  # of seventeen sentences, just over a thousand characters


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with serving(checkpoint, max_speeches=2) as running:
        yield running
        await running.idle()


async def test_sixty_thousand_characters_token_by_token(server: Running) -> None:
    pieces = [text(LONG[start : start + 4]) for start in range(0, len(LONG), 4)]
    asked = config(21_600.0)
    asked.config.delivery.max_lead.FromSeconds(21_600)
    with server.runner(lambda runner: Ending(runner, server.eos, after=3)):
        streamed = await turn(server, asked, *pieces, flush("all"))
        at_once = [
            response
            async for response in server.stub.SynthesizeText(
                pb.SynthesizeTextRequest(config=asked.config, text=LONG), timeout=60
            )
        ]
    for responses in (streamed, at_once):
        summary = check_laws(responses)
        assert (summary.finish_reason, summary.text_characters) == (pb.FINISH_REASON_STOP, 60_000)
        assert summary.codec_frames == 3 * SEGMENTS
        assert {response.audio.segment for response in responses} == {0}
    assert kinds(streamed).count("flush_done") == 1
    assert_same_audio(pcm(streamed), pcm(at_once))


async def test_one_character_more_is_refused(server: Running) -> None:
    request = pb.SynthesizeTextRequest(config=config().config, text=LONG + "!")
    refused = await failure(server.stub.SynthesizeText(request))
    assert refused.reason == "TEXT_TOO_LONG"
