"""What an interrupted caller can count as heard: each text that was spoken as one, behind its audio, with its range."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Running, cancel, config, flush, serving, text, turn
from .fakes import Ending
from .test_turns import check_laws

pytestmark = pytest.mark.asyncio(loop_scope="session")

PARTS = ["Café 😀, e\u0301 and so on. ", "你今天过得怎么样呢？", "Dr. Who knows the rest! ", "The end."]
TEXT = "".join(PARTS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with serving(checkpoint, max_speeches=2, guard_seconds=0.0) as running:
        with running.runner(lambda runner: Ending(runner, running.eos, after=5)):
            yield running
        await running.idle()


def asked(**delivery: Any) -> pb.SynthesizeRequest:
    return config(8.0, pb.TEXT_MODE_WHOLE, delivery=pb.DeliveryOptions(**delivery))


def done(responses: list[Any]) -> list[pb.SegmentDone]:
    return [response.segment_done for response in responses if response.HasField("segment_done")]


def check_places(responses: list[Any]) -> None:
    """Each comes behind all audio of its text, and before its flush is answered."""
    end = 0
    for response in responses:
        match response.WhichOneof("payload"):
            case "audio":
                end = (response.audio.pts.ToNanoseconds() + response.audio.duration.ToNanoseconds()) // 1_000_000
            case "segment_done":
                assert response.segment_done.end_pts.ToMilliseconds() == end
            case "flush_done":
                assert response.flush_done.pts.ToMilliseconds() == end
    assert [(each.start_pts.ToMilliseconds(), each.end_pts.ToMilliseconds()) for each in done(responses)] == [
        (400 * n, 400 * (n + 1)) for n in range(len(done(responses)))
    ]


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 48_000])
async def test_sentences_with_their_ranges_and_places(server: Running, rate: int) -> None:
    request = asked(sentence_segments=True)
    request.config.audio_format.sample_rate_hertz = rate
    responses = await turn(server, request, *map(text, TEXT), flush("a"), text(" And more."))
    spoken = TEXT + " And more."
    assert [spoken[each.text_start : each.text_end] for each in done(responses)] == [*PARTS, " And more."]
    assert [each.segment for each in done(responses)] == [0, 0, 0, 0, 1]
    check_places(responses)


async def test_both_methods_tell(server: Running) -> None:
    request = pb.SynthesizeTextRequest(config=asked(sentence_segments=True).config, text=TEXT)
    responses = [response async for response in server.stub.SynthesizeText(request, timeout=20)]
    assert [TEXT[each.text_start : each.text_end] for each in done(responses)] == PARTS
    assert {each.text_mode for each in done(responses)} == {pb.TEXT_MODE_WHOLE}
    check_places(responses)


async def test_a_turn_of_one_prompt_is_told_as_one(server: Running) -> None:
    responses = await turn(server, asked(), text(TEXT))
    check_laws(responses)
    (whole,) = done(responses)
    assert (whole.text_start, whole.text_end, whole.end_pts.ToMilliseconds()) == (0, len(TEXT), 400)


async def test_a_text_that_was_not_read_to_its_end_is_not_told(server: Running) -> None:
    """Here the speech ends after five frames, which have read five tokens."""
    responses = await turn(server, config(8.0, pb.TEXT_MODE_INCREMENTAL), text(TEXT), flush("a"))
    assert not done(responses) and any(response.HasField("flush_done") for response in responses)


async def test_a_cancelled_turn_tells_of_no_more_than_was_spoken(server: Running) -> None:
    request = asked(sentence_segments=True)
    request.config.delivery.max_lead.FromMilliseconds(400)
    responses = await turn(server, request, text(TEXT), 0.6, cancel())
    summary = check_laws(responses)
    assert summary.finish_reason == pb.FINISH_REASON_CANCELLED
    assert 0 < len(done(responses)) < len(PARTS)
    check_places(responses)
