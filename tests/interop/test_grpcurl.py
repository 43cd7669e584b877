"""grpcurl: by reflection or by the proto file, both calls, trailers, and what a failure looks like in a shell."""

import asyncio
import json
from typing import Any

import pytest

from tests.service.conftest import Running

from .conftest import CONFIG, PIECES, ROOT, SAMPLES, found, messages, unpacked

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORDS = "".join(PIECES)
BY_FILE = ("-import-path", str(ROOT / "proto"), "-proto", "qwentts/v1/tts.proto")


async def grpcurl(server: Running, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, output and errors."""
    command = [found("grpcurl"), "-plaintext", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, one after another."""
    decoder, start, read = json.JSONDecoder(), 0, []
    while start < len(text.rstrip()):
        value, start = decoder.raw_decode(text, start)
        read.append(value)
        start += len(text[start:]) - len(text[start:].lstrip())
    return read


def audio(responses: list[dict[str, Any]]) -> bytes:
    return b"".join(unpacked(response["audio"].get("data", "")) for response in responses if "audio" in response)


@pytest.mark.parametrize("source", [(), BY_FILE], ids=["reflection", "proto file"])
async def test_the_same_bytes(server: Running, expected: bytes, source: tuple[str, ...]) -> None:
    turn = "\n".join(map(json.dumps, messages(CONFIG)))
    arguments = (*source, "-d", "@", server.address, "qwentts.v1.TTSService/Synthesize")
    code, out, err = await grpcurl(server, *arguments, stdin=turn)
    assert code == 0, err
    responses = objects(out)
    assert audio(responses) == expected
    assert "started" in responses[0] and "summary" in responses[-1]


async def test_the_same_bytes_from_one_message(server: Running, expected: bytes) -> None:
    request = {"config": CONFIG, "text": WORDS}
    method = "qwentts.v1.TTSService/SynthesizeText"
    code, out, err = await grpcurl(server, "-d", json.dumps(request), server.address, method)
    assert (code, audio(objects(out))) == (0, expected), err


async def test_trailers_repeat_the_figures(server: Running) -> None:
    request = {"config": CONFIG, "text": WORDS}
    method = "qwentts.v1.TTSService/SynthesizeText"
    _, out, _ = await grpcurl(server, "-v", "-d", json.dumps(request), server.address, method)
    assert f"audio-samples: {SAMPLES}" in out and "finish-reason: length" in out


async def test_a_failure_is_decoded(server: Running) -> None:
    request = {"config": {**CONFIG, "voice": "nobody"}, "text": "Hello."}
    method = "qwentts.v1.TTSService/SynthesizeText"
    code, _, err = await grpcurl(server, "-d", json.dumps(request), server.address, method)
    assert code == 64 + 5
    assert all(word in err for word in ("NotFound", "VOICE_NOT_FOUND", "qwentts.v1.Voice", "nobody"))


async def test_it_lists_and_describes(server: Running) -> None:
    _, listed, _ = await grpcurl(server, server.address, "list")
    assert {"qwentts.v1.TTSService", "qwentts.v1.VoiceService", "grpc.health.v1.Health"} <= set(listed.split())
    code, described, _ = await grpcurl(server, server.address, "describe", "qwentts.v1.SynthesizeRequest")
    assert code == 0 and "SynthesisConfig config" in described
    health = ("-d", '{"service": "qwentts.v1.TTSService"}', server.address, "grpc.health.v1.Health/Check")
    assert "SERVING" in (await grpcurl(server, *health))[1]
