"""Agents' frameworks by their own services for OpenAI, unmodified."""

from typing import Any

import grpc
import pytest

from tests.client.background import Background
from tests.client.fake import PCM, Fake, refusing

from .conftest import Door


async def test_pipecat(fake: Fake, door: Door) -> None:
    utils = pytest.importorskip("pipecat.tests.utils", reason="pipecat-ai has an environment of its own (make test)")
    from pipecat.frames.frames import TTSAudioRawFrame, TTSSpeakFrame
    from pipecat.services.openai.tts import OpenAITTSService

    settings = OpenAITTSService.Settings(voice="nova", instructions="Warmly.")
    service = OpenAITTSService(base_url=f"{door.url}/v1", api_key="none", sample_rate=24_000, settings=settings)
    down, _ = await utils.run_test(service, frames_to_send=[TTSSpeakFrame("Hello.")])
    assert b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame)) == PCM
    assert (fake.texts, fake.turns[0][0].config.instructions) == (["Hello."], "Warmly.")


async def livekit_audio(door: Door, **options: Any) -> bytes:
    openai = pytest.importorskip(
        "livekit.plugins.openai", reason="livekit-agents has an environment of its own (make test)"
    )
    tts = openai.TTS(base_url=f"{door.url}/v1", api_key="none", **options)
    try:
        async with tts.synthesize("Hello.") as stream:
            return b"".join([bytes(event.frame.data) async for event in stream])
    finally:
        await tts.aclose()


def whole(audio: bytes) -> bool:
    """The speech, with the moment of silence that LiveKit puts behind it."""
    return audio.startswith(PCM) and len(audio) <= len(PCM) + 2 * 480


@pytest.mark.parametrize("model", ["tts-1", "gpt-4o-mini-tts"])  # bare audio, events
async def test_livekit(fake: Fake, door: Door, model: str) -> None:
    assert whole(await livekit_audio(door, model=model, voice="joe", response_format="pcm"))
    assert (fake.texts, fake.turns[0][0].config.voice) == (["Hello."], "joe")


async def test_livekit_decodes_mp3(door: Door) -> None:
    assert len(await livekit_audio(door, voice="ash")) >= len(PCM)


async def test_livekit_comes_again_to_a_full_server() -> None:
    with (
        Background(refusing(1, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.1)) as fake,
        Door(fake.address) as door,
    ):
        assert whole(await livekit_audio(door, voice="ash", response_format="pcm"))
        assert len(fake.turns) == 2
