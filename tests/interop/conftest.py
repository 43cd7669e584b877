"""A server that speaks the same bytes to everyone: one frame a chunk, so that no rounding depends on the moment."""

import base64
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.client import AsyncClient
from qwentts_client.v1 import tts_pb2 as pb
from tests.service.conftest import Running, serving

ROOT = Path(__file__).parents[2]
# Where tools/install_tools.sh puts it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qwentts-grpc"
PIECES = ("The same wo", "rds, and the sa", "me seed. 你好。")
CONFIG: dict[str, Any] = {
    "voice": "ryan",
    "sampling": {"seed": 42, "max_audio": "1.6s"},
    # The default text mode depends on how soon the text comes.
    "delivery": {"text_mode": "TEXT_MODE_INCREMENTAL", "first_chunk_frames": 1, "max_chunk_frames": 1},
}
SAMPLES = 38_400


def messages(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The turn as JSON messages."""
    return [{"config": config}, *({"text": {"text": piece}} for piece in PIECES), {"flush": {"mark": "end"}}]


def found(tool: str) -> str:
    """The tool's path, beside the running Python or anywhere; skips the test where there is none."""
    path = shutil.which(tool, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


def unpacked(text: str) -> bytes:
    return base64.b64decode(text)


def dumped(config: dict[str, Any]) -> str:
    return json.dumps(messages(config))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-custom", "1.7B-CustomVoice", seed=3)
    async with serving(checkpoint, max_speeches=2) as running:
        yield running
        await running.idle()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def expected(server: Running) -> bytes:
    """The audio as our own client hears it."""
    config = json_format.ParseDict(CONFIG, pb.SynthesisConfig())
    async with AsyncClient(server.address) as client:
        turn = client.synthesize(PIECES, config=config)
        pcm = b"".join([frame.data async for frame in turn])
    assert len(pcm) == 2 * SAMPLES and len(set(pcm)) > 100
    return pcm
