"""Which voices there are, page by page."""

from dataclasses import replace

import grpc
import pytest

from engine.api.config import ModelCard
from engine.api.errors import InvalidRequest
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.service.voices import page
from qwentts_grpc.voices.catalog import built_in_voices

from .conftest import Running, failure

CARD = ModelCard("tiny", "custom_voice", ("chinese", "english"), ("zoe", "anna", "bob"), True, "", 1_920, 24_000)
OTHER = replace(CARD, name="small", voices=("anna",))
pytest_session = pytest.mark.asyncio(loop_scope="session")


def voices(*cards: ModelCard) -> list[pb.Voice]:
    return [voice for card in cards for voice in built_in_voices(card)]


def test_voices_of_one_name_are_told_apart_by_their_checkpoint() -> None:
    request = pb.ListVoicesRequest(page_size=1)
    seen = []
    for _ in range(4):
        answer = page(request, voices(CARD, OTHER))
        seen += [(voice.name, voice.model) for voice in answer.voices]
        request.page_token = answer.next_page_token
    assert seen == [("anna", "small"), ("anna", "tiny"), ("bob", "tiny"), ("zoe", "tiny")]
    assert not request.page_token


def test_pages_cover_every_voice_once_in_order() -> None:
    request = pb.ListVoicesRequest(page_size=2)
    first = page(request, voices(CARD))
    request.page_token = first.next_page_token
    second = page(request, voices(CARD))
    assert [voice.name for voice in [*first.voices, *second.voices]] == ["anna", "bob", "zoe"]
    assert first.next_page_token and not second.next_page_token


def test_a_voice_that_comes_between_two_pages_moves_no_other() -> None:
    first = page(pb.ListVoicesRequest(page_size=2), voices(CARD))
    more = ModelCard("tiny", "custom_voice", ("english",), (*CARD.voices, "aaron", "carl"), True, "", 1_920, 24_000)
    second = page(pb.ListVoicesRequest(page_token=first.next_page_token), voices(more))
    assert [voice.name for voice in second.voices] == ["carl", "zoe"]


@pytest.mark.parametrize(
    ("language", "count"), [("", 3), ("English", 3), ("french", 0), ("en-GB", 3), ("zh", 3), ("fr", 0)]
)
def test_the_language_filter(language: str, count: int) -> None:
    assert len(page(pb.ListVoicesRequest(language=language), voices(CARD)).voices) == count


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListVoicesRequest(page_size=-1), "page_size"),
        (pb.ListVoicesRequest(page_token="not base 64"), "page_token"),
        (pb.ListVoicesRequest(page_token="_w=="), "page_token"),
        (pb.ListVoicesRequest(page_token="ы"), "page_token"),
    ],
)
def test_a_bad_page_is_refused(request_: pb.ListVoicesRequest, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        page(request_, voices(CARD))
    assert refused.value.field == field


@pytest_session
async def test_built_in_voices_over_the_wire(tts: Running) -> None:
    listed = (await tts.voices.ListVoices(pb.ListVoicesRequest(language="english"))).voices
    ryan = (await tts.voices.GetVoice(pb.GetVoiceRequest(name="Ryan"))).voice
    assert ryan in listed
    assert (ryan.name, ryan.kind, ryan.model) == ("ryan", pb.VOICE_KIND_BUILT_IN, "tiny-custom")


@pytest_session
async def test_a_voice_that_is_not_there(tts: Running) -> None:
    refused = await failure(tts.voices.GetVoice(pb.GetVoiceRequest(name="nobody")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND")


@pytest_session
@pytest.mark.parametrize("call", ["get", "delete", "speak"])
async def test_the_voices_that_there_are_come_with_the_error(tts: Running, call: str) -> None:
    spoken = pb.SynthesizeTextRequest(config=pb.SynthesisConfig(voice="vivien"), text="Hello.")
    calls = {
        "get": lambda: tts.voices.GetVoice(pb.GetVoiceRequest(name="vivien")),
        "delete": lambda: tts.voices.DeleteVoice(pb.DeleteVoiceRequest(name="vivien")),
        "speak": lambda: tts.stub.SynthesizeText(spoken),
    }
    refused = await failure(calls[call]())
    assert refused.reason == "VOICE_NOT_FOUND"
    assert "there are vivian, aiden, dylan" in refused.message
