"""Services of other frameworks on the client; LiveKit's and Pipecat's where they are installed."""

from collections.abc import Iterator

import httpx
import pytest

from .background import Background
from .fake import PCM, Fake


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Background() as fake:
        yield fake


async def test_openai_speech(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    from clients.openai.speech import app

    monkeypatch.setenv("QWENTTS_SERVER", fake.address)
    door = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door")
    async with app.router.lifespan_context(app), door as http:
        wanted = {"input": "Hello.", "voice": "joe", "response_format": "pcm"}
        assert (await http.post("/v1/audio/speech", json=wanted)).content == PCM
        mp3 = await http.post("/v1/audio/speech", json=wanted | {"voice": "alloy", "response_format": "mp3"})
        assert mp3.headers["content-type"] == "audio/mpeg" and len(mp3.content) > 100
        assert (await http.post("/v1/audio/speech", json=wanted | {"response_format": "midi"})).status_code == 400
    assert fake.texts == ["Hello.", "Hello."]
    assert [turn[0].config.voice for turn in fake.turns] == ["joe", ""]


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
