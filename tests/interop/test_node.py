"""Node's own gRPC, which shares no code with ours."""

import asyncio
import json
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.service.conftest import Running

from .conftest import CACHE, ROOT, SAMPLES, dumped, found, unpacked
from .conftest import CONFIG as JSON_CONFIG

pytestmark = pytest.mark.asyncio(loop_scope="session")

# It knows durations as messages alone, not in their JSON form.
CONFIG = {**JSON_CONFIG, "sampling": {"seed": 42, "max_audio": {"seconds": 1, "nanos": 600_000_000}}}
MODULES = CACHE / "node" / "node_modules"


async def turn(server: Running, config: dict[str, Any]) -> dict[str, Any]:
    """What client.js prints."""
    node = found("node")
    if not (MODULES / "@grpc" / "grpc-js").is_dir():
        pytest.skip("@grpc/grpc-js is not installed (tools/install_tools.sh)")
    script = str(ROOT / "clients/node/client.js")
    command = [node, script, str(MODULES), str(ROOT / "proto"), server.address, dumped(config)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, err.decode()
    result: dict[str, Any] = json.loads(out)
    return result


async def test_the_same_bytes(server: Running, expected: bytes) -> None:
    heard = await turn(server, CONFIG)
    assert (heard["code"], unpacked(heard["pcm"]) == expected) == (0, True)
    assert (heard["kinds"][0], heard["kinds"][-1]) == ("started", "summary")
    assert heard["trailers"] == {"audio-samples": str(SAMPLES), "finish-reason": "length"}


async def test_a_failure_is_decoded(server: Running) -> None:
    heard = await turn(server, {**CONFIG, "voice": "nobody"})
    assert (heard["code"], heard["kinds"]) == (5, [])
    status, info = status_pb2.Status.FromString(unpacked(heard["details"][0])), error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details) and info.reason == "VOICE_NOT_FOUND"
