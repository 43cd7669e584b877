"""Services of other frameworks on the client; LiveKit's and Pipecat's where they are installed."""

from collections.abc import Iterator

import pytest

from .background import Background
from .fake import PCM, Fake


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Background() as fake:
        yield fake


async def test_livekit(fake: Fake) -> None:
    pytest.importorskip("livekit.agents")
    from clients.livekit.qwentts import TTS

    tts = TTS(fake.address, voice="joe")
    async with tts.stream() as stream:
        for word in ("Hello ", "there."):
            stream.push_text(word)
        stream.end_input()
        audio = b"".join([bytes(event.frame.data) async for event in stream])
    await tts.aclose()
    assert audio == PCM * sum(request.HasField("text") for request in fake.turns[0])
    assert fake.texts == ["Hello there."]


async def test_pipecat(fake: Fake) -> None:
    utils = pytest.importorskip("pipecat.tests.utils")
    from pipecat.frames.frames import TTSAudioRawFrame, TTSSpeakFrame

    from clients.pipecat.qwentts import QwenTTSService

    service = QwenTTSService(fake.address, voice="joe", sample_rate=24_000)
    down, _ = await utils.run_test(service, frames_to_send=[TTSSpeakFrame("Hello.")])
    assert b"".join(f.audio for f in down if isinstance(f, TTSAudioRawFrame)) == PCM
    assert fake.texts == ["Hello."]
