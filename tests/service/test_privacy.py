"""What users say, and what they are called, is in no line of the log: neither of good turns nor of bad ones."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.telemetry.logs import JsonFormatter
from qwentts_grpc.wire import formats

from .conftest import Running, cancel, config, failure, flush, kinds, send, serving, text, turn
from .fakes import Infinite
from .test_created_voices import create, delete, upload
from .test_kinds import clone, recording

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "Zq7Zq7"
METADATA = (("authorization", f"Bearer {SECRET}"), ("x-tenant", SECRET))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    base = write_checkpoint(tmp_path_factory.mktemp("privacy") / "tiny-base", "0.6B-Base", seed=5)
    async with serving(checkpoint, more=[base], max_speeches=2, max_text_characters=1_000) as running:
        yield running
        await running.idle()


async def speak(server: Running) -> None:
    """Turns that go well, with the secret wherever a caller can write."""
    words = text(f"My name is {SECRET}.")
    asked = config(60.0, instructions=f"Say {SECRET} softly.")
    assert kinds(await turn(server, asked, words, flush(SECRET), words, 0.2, cancel()))[-1] == "summary"
    await turn(server, clone(recording(), transcript=SECRET), words)
    await create(server, SECRET, transcript=SECRET, description=SECRET, consent_reference=SECRET)
    await turn(server, config(voice=SECRET), words)
    await delete(server, SECRET)
    call = server.stub.Synthesize(send([config(60.0), words, 5.0]), metadata=METADATA)
    await call.read()
    call.cancel()
    await server.idle()


def refused(server: Running) -> list[Any]:
    """Calls that do not."""
    words, synthesize = text(SECRET), server.stub.Synthesize
    raw: Any = server.channel.stream_stream("/qwentts.v1.TTSService/Synthesize")
    wrong: list[dict[str, Any]] = [{"voice": SECRET}, {"language": SECRET}, {"model": SECRET}]
    nonsense = pb.SynthesizeRequest(
        config=pb.SynthesisConfig(reference=pb.ReferenceVoice(audio=SECRET.encode(), transcript=SECRET))
    )
    return [
        *(synthesize(send([config(**fields), words])) for fields in wrong),
        synthesize(send([config(voice="", instructions=SECRET, model="tiny-base"), words])),
        synthesize(send([config(request_id="\n"), words])),
        synthesize(send([nonsense, words])),
        synthesize(send([config(), text(SECRET * 500)])),
        synthesize(send([words])),
        raw(iter([SECRET.encode()])),
        server.stub.SynthesizeText(pb.SynthesizeTextRequest(config=config().config, text=SECRET * 500)),
        server.voices.GetVoice(pb.GetVoiceRequest(name=SECRET)),
        server.voices.DeleteVoice(pb.DeleteVoiceRequest(name=SECRET)),
        server.voices.ListVoices(pb.ListVoicesRequest(page_token=SECRET)),
        server.voices.CreateVoice(upload(SECRET, audio=SECRET.encode())),
        server.voices.CreateVoice(upload(f"../{SECRET}")),
    ]


async def test_no_line_of_the_log_has_a_word_of_it(
    server: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    await speak(server)
    calls = refused(server)
    for call in calls:
        await failure(call)
    with server.runner(Infinite):
        broken = await failure(server.stub.Synthesize(send([config(), text(SECRET)])))
    monkeypatch.setattr(formats, "encoder", lambda *_: 1 // 0)
    fault = await failure(server.stub.Synthesize(send([config(), text(SECRET)])))
    assert (broken.reason, fault.reason) == ("GENERATION_FAILED", "INTERNAL")
    lines = [record.getMessage() for record in caplog.records]
    assert sum("refused" in line for line in lines) == len(calls) + 2
    assert "ZeroDivisionError" in caplog.text
    as_json = "\n".join(map(JsonFormatter().format, caplog.records))
    assert SECRET.casefold() not in (caplog.text + as_json).casefold()
