"""buf curl: Connect's gRPC in Go, by the proto file or by reflection under its newer name."""

import asyncio
import json

import pytest

from tests.service.conftest import Running

from .conftest import CONFIG, ROOT, SAMPLES, found, messages
from .test_grpcurl import audio, objects

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAIN = ("curl", "--protocol", "grpc", "--http2-prior-knowledge")
BY_FILE, BY_REFLECTION = ("--schema", str(ROOT / "proto")), ("--reflect", "--reflect-protocol", "grpc-v1")


async def buf(server: Running, config: dict[str, object], *flags: str) -> tuple[int, str, str]:
    """Exit code, output and errors of one turn."""
    url = f"http://{server.address}/qwentts.v1.TTSService/Synthesize"
    pipe = asyncio.subprocess.PIPE
    command = (found("buf"), *PLAIN, *flags, "--data", "@-", url)
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    turn = "".join(map(json.dumps, messages(config)))
    out, err = await asyncio.wait_for(process.communicate(turn.encode()), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("source", [BY_FILE, BY_REFLECTION], ids=["proto file", "reflection"])
async def test_the_same_bytes(server: Running, expected: bytes, source: tuple[str, ...]) -> None:
    code, out, err = await buf(server, CONFIG, "--verbose", *source)
    assert (code, audio(objects(out))) == (0, expected), err
    assert f"Audio-Samples: {SAMPLES}" in err and "Finish-Reason: length" in err


async def test_a_failure_is_decoded(server: Running) -> None:
    code, _, err = await buf(server, {**CONFIG, "voice": "nobody"}, *BY_FILE)
    assert code == 8 * 5  # eight times the gRPC code
    failure = json.loads(err)
    assert failure["code"] == "not_found" and failure["details"][0]["type"] == "google.rpc.ErrorInfo"
