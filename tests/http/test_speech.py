"""POST /v1/audio/speech on a scripted server: what it asks for, what it refuses, who leaves."""

import asyncio
import json
import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import grpc
import httpx
import pytest

from qwentts_client.v1 import tts_pb2 as pb
from tests.client import fake as scripts
from tests.client.background import Background
from tests.client.fake import PCM, Context, Fake, Requests, refusing

from .conftest import Door

WANTED = {"input": "Hello.", "voice": "joe", "response_format": "pcm"}


def post(door: Door, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{door.url}/v1/audio/speech", json=body, headers=headers, timeout=20)


def error(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found.keys() == {"message", "type", "param", "code"}
    return found


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_fields_reach_the_server(fake: Fake, door: Door) -> None:
    more = {
        "instructions": "Warmly.",
        "language": "en",
        "seed": 3,
        "model": "some/model",
        "unknown": [1],
        "speed": None,
    }
    assert post(door, WANTED | more).content == PCM
    config = fake.turns[0][0].config
    assert (config.voice, config.model, config.language, config.instructions) == ("joe", "some/model", "en", "Warmly.")
    assert config.sampling.seed == 3 and fake.texts == ["Hello."]


def test_the_body_of_the_original_project(fake: Fake, door: Door) -> None:
    answer = post(door, {"text": "Hello.", "language": "English", "speaker": "joe", "volume": 0.5})
    assert answer.headers["content-type"] == "audio/pcm" and len(answer.content) == len(PCM)
    config = fake.turns[0][0].config
    assert (config.voice, config.language, fake.texts) == ("joe", "English", ["Hello."])


def test_a_recording_in_the_body(fake: Fake, door: Door) -> None:
    for text in ("UklGRg==", "data:audio/wav;base64,UklGRg=="):
        post(door, {"input": "Hello.", "ref_audio": text, "ref_text": "Words.", "consent": "c-1"})
        reference = fake.turns[-1][0].config.reference
        assert (reference.audio, reference.transcript, reference.consent_reference) == (b"RIFF", "Words.", "c-1")
    assert error(post(door, {"input": "Hello.", "ref_audio": "http://example.com/a.wav"}))["param"] == "ref_audio"


def test_aliases(fake: Fake) -> None:
    from qwentts_grpc.http.settings import Aliases

    with Door(fake.address, aliases=Aliases({"alloy": "slt", "anna": "joe"})) as door:
        for voice in ("alloy", "anna", "nova", "joe", None):
            post(door, WANTED | {"voice": voice, "model": "gpt-4o-mini-tts"})
    assert [turn[0].config.voice for turn in fake.turns] == ["slt", "joe", "", "joe", ""]
    assert {turn[0].config.model for turn in fake.turns} == {""}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["a"]}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"response_format": "midi"}, "response_format"),
        ({"speed": 0.2}, "speed"),
        ({"speed": 4.1}, "speed"),
        ({"speed": "1"}, "speed"),
        ({"speed": True}, "speed"),
        ({"stream_format": "websocket"}, "stream_format"),
        ({"voice": 7}, "voice"),
        ({"voice": {"id": 7}}, "voice"),
        ({"seed": -1}, "seed"),
        ({"instructions": {}}, "instructions"),
    ],
)
def test_wrong_fields_are_named(fake: Fake, door: Door, change: dict[str, Any], param: str) -> None:
    answer = httpx.post(f"{door.url}/v1/audio/speech", content=json.dumps(WANTED | change))
    assert answer.status_code == 400 and error(answer)["param"] == param
    assert not fake.turns


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"\xff\xfe", b"[" * 100_000, b'{"input": NaN}'])
def test_wrong_bodies(fake: Fake, door: Door, body: bytes) -> None:
    answer = httpx.post(f"{door.url}/v1/audio/speech", content=body)
    assert answer.status_code == 400 and error(answer)["type"] == "invalid_request_error"


def test_a_body_beyond_the_limit(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwentts_grpc.http.bodies.LONGEST_JSON", 10_000)
    large = b'{"input": "' + b"a" * 20_000
    assert httpx.post(f"{door.url}/v1/audio/speech", content=large).status_code == 413
    chunked = httpx.post(f"{door.url}/v1/audio/speech", content=iter([large[:9_000]] * 4))
    assert chunked.status_code == 413 and error(chunked)


def test_large_bodies_come_a_few_at_once(fake: Fake, door: Door) -> None:
    head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    with ExitStack() as opened:
        sockets = [opened.enter_context(door.connected()) for _ in range(17)]
        for stalled in sockets:
            stalled.sendall(head + bytes(300_000))
        answered, _, _ = select.select(sockets, [], [], 10)
        assert answered[0].recv(100).startswith(b"HTTP/1.1 429")
        assert post(door, WANTED).content == PCM  # a small one comes through


def test_a_body_that_does_not_come(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwentts_grpc.http.bodies.BODY_TIMEOUT", 0.2)
    with door.connected() as slow:
        slow.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_other_methods(door: Door, method: str) -> None:
    answer = httpx.request(method, f"{door.url}/v1/audio/speech")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_other_paths(door: Door) -> None:
    for path in ("/v1/nothing", "/v1/audio/speech/", "/v1/../etc/passwd", "/%2e%2e/settings.py", "/static/x"):
        assert httpx.get(f"{door.url}{path}").status_code == 404


def test_the_callers_token_is_passed_on() -> None:
    seen: list[Any] = []

    async def script(fake: Fake, requests: Requests, context: Context) -> Any:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        async for response in scripts.speak(fake, requests, context):
            yield response

    with Background(script) as fake, Door(fake.address) as door:
        post(door, WANTED, authorization="Bearer sk-secret")
        post(door, WANTED)
        for wrong in ("Basic eDp5", b"Bearer \xe9"):
            answer = post(door, WANTED, authorization=wrong)  # type: ignore[arg-type]
            assert answer.status_code == 401 and error(answer)["code"] == "invalid_api_key"
    assert seen == ["Bearer sk-secret", None]


def test_a_full_server_says_when_to_come_again() -> None:
    with (
        Background(refusing(1, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.25)) as fake,
        Door(fake.address) as door,
    ):
        answer = post(door, WANTED)
        assert answer.status_code == 429 and error(answer)["code"] == "rate_limit_exceeded"
        assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "250")
        assert post(door, WANTED).content == PCM


def test_a_server_that_is_gone() -> None:
    with Door("127.0.0.1:1") as door:
        answer = post(door, WANTED)
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert "127.0.0.1:1" not in error(answer)["message"]
        assert httpx.get(f"{door.url}/healthz").status_code == 503
        assert httpx.get(f"{door.url}/livez").status_code == 200


def test_too_many_calls() -> None:
    with Background(scripts.endless) as fake, Door(fake.address, max_calls=1, drain_seconds=0.0) as door:
        with httpx.stream("POST", f"{door.url}/v1/audio/speech", json=WANTED) as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            assert post(door, WANTED).status_code == 429
            assert httpx.get(f"{door.url}/status").json()["speaking"] == 1
        eventually(lambda: httpx.get(f"{door.url}/status").json()["speaking"] == 0)


def test_a_caller_who_leaves_ends_the_turn() -> None:
    with Background(scripts.endless) as fake, Door(fake.address) as door:
        with httpx.stream("POST", f"{door.url}/v1/audio/speech", json=WANTED) as answer:
            next(answer.iter_bytes())
        eventually(lambda: fake.left == 1, 2.0)


async def _never(fake: Fake, requests: Requests, context: Context) -> Any:
    await asyncio.sleep(60)
    yield scripts.STARTED


def test_a_caller_who_leaves_while_waiting_ends_the_turn() -> None:
    with Background(_never) as fake, Door(fake.address) as door:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{door.url}/v1/audio/speech", json=WANTED, timeout=0.5)
        eventually(lambda: fake.left == 1, 2.0)


def test_a_reader_who_stops_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwentts_grpc.http.delivery.WRITE_TIMEOUT", 0.3)

    async def flood(fake: Fake, requests: Requests, context: Context) -> Any:
        yield scripts.STARTED
        while True:
            yield pb.SynthesizeResponse(audio=pb.AudioFrame(data=bytes(100_000)))

    body = json.dumps(WANTED).encode()
    with Background(flood) as fake, Door(fake.address) as door, door.connected() as stopped:
        stopped.sendall(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        eventually(lambda: fake.left == 1)


async def _broken(fake: Fake, requests: Requests, context: Context) -> Any:
    yield scripts.STARTED
    yield scripts.frame()
    await scripts.refuse(context, grpc.StatusCode.INTERNAL, "GENERATION_FAILED")


def test_a_turn_that_breaks_is_no_whole_response() -> None:
    with Background(_broken) as fake, Door(fake.address) as door:
        with pytest.raises(httpx.RemoteProtocolError):
            post(door, WANTED)
        told = post(door, WANTED | {"stream_format": "sse"}).text.split("\n\n")
        assert "speech.audio.delta" in told[0]
        assert json.loads(told[1].removeprefix("data: "))["error"]["code"] == "generation_failed"


def test_request_ids(fake: Fake, door: Door) -> None:
    assert post(door, WANTED, **{"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert fake.turns[0][0].config.request_id == "mine-1"
    assert post(door, WANTED, **{"x-request-id": "<b>"}).headers["x-request-id"] != "<b>"


def test_unicode(fake: Fake, door: Door) -> None:
    post(door, WANTED | {"input": "你好 👋🏽", "voice": "名前"})
    assert (fake.texts, fake.turns[0][0].config.voice) == (["你好 👋🏽"], "名前")
