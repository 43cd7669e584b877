"""The WebSocket: text in as it comes, audio out."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from qwentts_client.v1 import tts_pb2 as pb
from tests.client import fake as scripts
from tests.client.background import Background
from tests.client.fake import PCM, Context, Fake, Requests, refusing

from .conftest import Door
from .test_speech import eventually


def opened(door: Door, **options: Any) -> ClientConnection:
    socket: ClientConnection = connect(f"ws://127.0.0.1:{door.port}/live", open_timeout=10, **options)
    return socket


def send(socket: ClientConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        socket.send(json.dumps(message))


def received(socket: ClientConnection) -> tuple[bytes, list[dict[str, Any]]]:
    """Audio and events until the end."""
    audio, events = b"", []
    try:
        while True:
            message = socket.recv(timeout=10)
            if isinstance(message, bytes):
                audio += message
            else:
                events.append(json.loads(message))
    except ConnectionClosed:
        return audio, events


def test_words_come_back_as_audio(fake: Fake, door: Door) -> None:
    with opened(door) as socket:
        send(socket, {"voice": "joe", "language": "en"}, {"text": "Hello "}, {"text": "there."}, {"flush": "a"})
        assert json.loads(socket.recv()).keys() == {"started"}
        assert [socket.recv(), socket.recv()] == [PCM, PCM]
        assert json.loads(socket.recv()) == {"flush_done": {"mark": "a"}}
        send(socket, {"text": "Bye.", "end": True})
        audio, events = received(socket)
    assert (audio, [*events[0]]) == (PCM, ["summary"])
    assert fake.texts == ["Hello there.Bye."] and fake.turns[0][0].config.voice == "joe"


def test_cancel_tells_the_summary(door: Door) -> None:
    with opened(door) as socket:
        send(socket, {}, {"text": "Hello."})
        socket.recv(), socket.recv()
        send(socket, {"cancel": True})
        assert received(socket)[1][-1]["summary"]["finish_reason"] == "FINISH_REASON_CANCELLED"


def test_leaving_ends_the_turn() -> None:
    with Background(scripts.endless) as fake, Door(fake.address) as door:
        with opened(door) as socket:
            send(socket, {}, {"text": "Hello."})
            socket.recv()
        eventually(lambda: fake.left == 1, 2.0)


def test_a_reader_who_stops_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwentts_grpc.http.live.WRITE_TIMEOUT", 0.3)

    async def flood(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
        yield scripts.STARTED
        while True:
            yield pb.SynthesizeResponse(audio=pb.AudioFrame(data=bytes(100_000)))

    with Background(flood) as fake, Door(fake.address) as door, opened(door, max_queue=1) as socket:
        send(socket, {}, {"text": "Hello."})
        eventually(lambda: fake.left == 1)


def test_a_recording(fake: Fake, door: Door) -> None:
    with opened(door) as socket:
        send(socket, {"reference": True, "ref_text": "Words.", "consent": "c-1"})
        socket.send(b"RIFF")
        send(socket, {"text": "Hello.", "end": True})
        assert received(socket)[0] == PCM
    reference = fake.turns[0][0].config.reference
    assert (reference.audio, reference.transcript, reference.consent_reference) == (b"RIFF", "Words.", "c-1")


def test_a_refusal_is_told() -> None:
    script = refusing(1, grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND")
    with Background(script) as fake, Door(fake.address) as door, opened(door) as socket:
        send(socket, {"voice": "nobody"}, {"text": "Hello.", "end": True})
        assert received(socket)[1][-1]["error"]["code"] == "voice_not_found"


@pytest.mark.parametrize(
    "messages",
    [
        ["{"],
        ["[]"],
        [b"{}"],
        ["{}", "5"],
        ["{}", '{"text": 5}'],
        ["{}", '{"text": "\\ud800"}'],
        ["{}", '{"end": true}', '{"text": "late"}'],
        ['{"reference": true}', "{}"],
        ['{"reference": true}', b""],
        ['{"voice": 5}'],
        ['{"token": "\\u00e9"}'],
    ],
)
def test_wrong_messages_are_told(door: Door, messages: list[str | bytes]) -> None:
    with opened(door) as socket:
        for message in messages:
            socket.send(message)
        _, events = received(socket)
    assert "error" in events[-1] or messages[-1] == '{"text": "late"}'


def test_a_foreign_page_is_refused(door: Door) -> None:
    for options in ({"origin": "https://evil.example"}, {"additional_headers": {"Host": "evil.example"}}):
        with pytest.raises(InvalidStatus):
            opened(door, **options)
    with opened(door, origin=f"http://127.0.0.1:{door.port}"):
        pass


def test_calls_are_counted(fake: Fake) -> None:
    with Door(fake.address, max_calls=1) as door, opened(door) as first, opened(door) as second:
        send(first, {})
        first.recv()
        assert received(second)[1][-1]["error"]["code"] == "rate_limit_exceeded"
