"""The OpenAI-shaped endpoint on a scripted server."""

import httpx
import pytest

from tests.client.background import Background


async def test_openai_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    from clients.openai.speech import app
    from tests.client.fake import PCM

    with Background() as fake:
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
