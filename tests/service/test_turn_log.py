"""How each turn ended is one line of log, with fields for machines."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Running, cancel, config, failure, send, serving, text, turn
from .test_created_voices import create

pytestmark = pytest.mark.asyncio(loop_scope="session")

Told = Callable[[], dict[str, Any]]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """The fields of the only line that tells of an end."""
    caplog.set_level(logging.INFO)

    def fields() -> dict[str, Any]:
        told = [vars(record).get("fields", {}) for record in caplog.records]
        (found,) = (fields for fields in told if "outcome" in fields)
        caplog.clear()
        return dict(found)

    return fields


async def test_a_turn_that_was_spoken(tts: Running, told: Told) -> None:
    responses = await turn(tts, config(0.8, voice="Ryan"), 0.3, text("One."))
    summary, fields = responses[-1].summary, told()
    assert {name: fields[name] for name in ("method", "outcome", "code", "model", "voice", "seed")} == {
        "method": "Synthesize",
        "outcome": "length",
        "code": "OK",
        "model": "tiny-custom",
        "voice": "ryan",
        "seed": summary.seed,
    }
    assert fields["audio_seconds"] == 0.8
    assert fields["text_characters"] == 4
    assert 0 < fields["server_first_audio_seconds"] < fields["first_audio_seconds"] - 0.25
    assert 0 < fields["work_seconds"] < fields["total_seconds"] - 0.25
    assert fields["underruns"] == fields["text_underruns"] + fields["engine_underruns"] + fields["client_underruns"]
    assert "reason" not in fields


async def test_a_turn_that_was_cancelled(tts: Running, told: Told) -> None:
    await turn(tts, config(60.0), text("Two."), 0.3, cancel())
    fields = told()
    assert (fields["outcome"], fields["code"]) == ("cancelled_soft", "OK")
    call = tts.stub.Synthesize(send([config(60.0), text("Two."), 60.0]))
    while not (await call.read()).HasField("audio"):
        pass
    call.cancel()
    await tts.idle()
    await asyncio.sleep(0.05)
    fields = told()
    assert (fields["outcome"], fields["code"], fields["model"]) == ("cancelled_rpc", "CANCELLED", "tiny-custom")
    assert fields["audio_seconds"] > 0 and fields["first_audio_seconds"] > 0
    await failure(tts.stub.Synthesize(send([config(60.0), text("Two."), 60.0]), timeout=0.3))
    await tts.idle()
    await asyncio.sleep(0.05)
    fields = told()
    assert (fields["outcome"], fields["code"]) == ("deadline", "DEADLINE_EXCEEDED")


async def test_a_turn_that_was_refused(tts: Running, told: Told) -> None:
    await failure(tts.stub.Synthesize(send([config(voice="nobody"), text("Three.")])))
    fields = told()
    assert fields == {
        "method": "Synthesize",
        "outcome": "rejected",
        "code": "NOT_FOUND",
        "reason": "VOICE_NOT_FOUND",
    }


async def test_the_name_of_a_created_voice_is_its_creators_word(tmp_path: Path, told: Told) -> None:
    folder = write_checkpoint(tmp_path / "tiny-base", "0.6B-Base", seed=3)
    async with serving(folder) as running:
        await create(running, "my_friend")
        await running.stub.SynthesizeText(
            pb.SynthesizeTextRequest(config=config(0.4, voice="my_friend").config, text="Four.")
        ).read()
        await running.idle()
    assert told()["voice"] == "sha256:" + hashlib.sha256(b"my_friend").hexdigest()[:12]
