"""The `openai` package, unmodified, on a real server."""

import base64
import io
import json
from typing import Any

import av
import httpx
import openai
import pytest

from .conftest import Door

TEXT = "The sun."
SEED = {"seed": 5}
pytestmark = pytest.mark.asyncio(loop_scope="session")


def client(door: Door, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="any", max_retries=0, **options)


def seconds(audio: bytes, form: str | None = None) -> float:
    options: dict[str, Any] = {"format": "s16le", "options": {"sample_rate": "24000"}} if form == "pcm" else {}
    with av.open(io.BytesIO(audio), **options) as container:
        (stream,) = container.streams.audio
        return float(sum(frame.samples for frame in container.decode(stream)) / stream.rate)


async def test_all_formats_are_what_they_say(speaking: Door) -> None:
    api, lengths = client(speaking), {}
    for form in ("mp3", "opus", "aac", "flac", "wav", "pcm"):
        answer = await api.audio.speech.create(
            input=TEXT, model="tts-1", voice="alloy", response_format=form, extra_body=SEED
        )
        lengths[form] = seconds(answer.content, form)
    assert all(0.3 < length < 3.0 for length in lengths.values()), lengths


async def test_speed_changes_the_length(speaking: Door) -> None:
    api = client(speaking)
    wanted: dict[str, Any] = {"input": TEXT, "model": "gpt-4o-mini-tts", "voice": "nova", "response_format": "wav"}
    plain = seconds((await api.audio.speech.create(**wanted, extra_body=SEED)).content)
    slow = seconds((await api.audio.speech.create(**wanted, speed=0.25, extra_body=SEED)).content)
    assert slow > 2 * plain  # it may be another take of the text


async def test_audio_streams(speaking: Door) -> None:
    call = client(speaking).audio.speech.with_streaming_response.create(
        input=TEXT, model="tts-1", voice="echo", response_format="pcm", extra_body=SEED
    )
    async with call as answer:
        chunks = [chunk async for chunk in answer.iter_bytes()]
        assert answer.headers["content-type"] == "audio/pcm" and answer.headers["x-request-id"]
    assert len(chunks) > 1


async def test_events_carry_the_audio(speaking: Door) -> None:
    body = {"input": TEXT, "model": "tts-1", "voice": "alloy", "response_format": "wav", "stream_format": "sse", **SEED}
    async with httpx.AsyncClient(base_url=speaking.url, timeout=60) as http:
        events = await http.post("/v1/audio/speech", json=body)
    assert events.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line.removeprefix("data: ")) for line in events.text.split("\n\n") if line]
    assert {event["type"] for event in told[:-1]} == {"speech.audio.delta"}
    assert seconds(b"".join(base64.b64decode(event["audio"]) for event in told[:-1])) > 0.3
    usage = told[-1]["usage"]
    assert told[-1]["type"] == "speech.audio.done"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


async def test_an_unknown_voice_is_not_found(speaking: Door) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        await client(speaking).audio.speech.create(input=TEXT, model="tts-1", voice="nobody")
    assert (raised.value.code, raised.value.param, raised.value.type) == (
        "voice_not_found",
        "voice",
        "invalid_request_error",
    )
    assert raised.value.request_id


async def test_an_empty_text_is_a_bad_request(speaking: Door) -> None:
    for text in ("", "..."):
        with pytest.raises(openai.BadRequestError) as raised:
            await client(speaking).audio.speech.create(input=text, model="tts-1", voice="alloy")
        assert raised.value.param == "input"


async def test_models(speaking: Door) -> None:
    api = client(speaking)
    (found,) = [model async for model in await api.models.list()]
    assert (await api.models.retrieve(found.id)).id == found.id
    await api.audio.speech.create(input="Yes.", model=found.id, voice="alloy")
    with pytest.raises(openai.NotFoundError):
        await api.models.retrieve("no/such")
    with pytest.raises(openai.NotFoundError) as raised:
        await api.audio.speech.create(input="Yes.", model="no/such", voice="alloy")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


async def test_a_wrong_field_is_named_as_it_was_given(speaking: Door) -> None:
    call = client(speaking).audio.speech.create
    with pytest.raises(openai.BadRequestError, match="400 - language: 'zz'") as raised:
        await call(input="Yes.", model="tts-1", voice="alloy", extra_body={"language": "zz"})
    assert raised.value.param == "language"


async def test_a_voice_by_its_name_or_its_id(speaking: Door) -> None:
    for voice in ("joe", {"id": "joe"}):
        call = client(speaking).audio.speech.create
        answer = await call(input="Yes.", model="tts-1", voice=voice, extra_body=SEED)  # type: ignore[arg-type]
        assert answer.content
