"""Several checkpoints in one server: who speaks which turn, what is shared, and what they add up to."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from engine.api.errors import CheckpointError
from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server

from .conftest import Running, config, failure, kinds, pcm, send, serving, text, turn
from .fakes import Breaking
from .test_created_voices import create, delete
from .test_kinds import clone, recording
from .test_turns import assert_same_audio

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVALID, PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Custom voice, design and base; the last two have one codec."""
    root = tmp_path_factory.mktemp("fleet")
    custom = write_checkpoint(root / "custom", "0.6B-CustomVoice", seed=1)
    design = write_checkpoint(root / "design", "1.7B-VoiceDesign", seed=2)
    base = write_checkpoint(root / "base", "0.6B-Base", seed=3)
    shutil.rmtree(base / "speech_tokenizer")
    shutil.copytree(design / "speech_tokenizer", base / "speech_tokenizer")
    return [custom, design, base]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(folders: list[Path]) -> AsyncIterator[Running]:
    async with serving(folders[0], more=folders[1:], max_speeches=2) as running:
        yield running
        await running.idle()


async def spoken_by(running: Running, asked: pb.SynthesizeRequest) -> str:
    responses = await turn(running, asked, text("Hello there."))
    assert kinds(responses)[-1] == "summary"
    return str(responses[0].started.model)


async def test_a_turn_goes_to_whom_it_names_or_to_the_first_that_can(fleet: Running) -> None:
    made = await create(fleet, "anna")
    assert made.model == "base"
    for asked, model in (
        (config(voice=""), "custom"),
        (config(voice="Ryan"), "custom"),
        (config(voice="ryan", instructions="softly"), "custom"),
        (config(voice="", instructions="A low voice."), "design"),
        (config(voice="", instructions="softly", model="custom"), "custom"),
        (config(voice="anna"), "base"),
        (clone(recording(), transcript="A tone."), "base"),
    ):
        assert await spoken_by(fleet, asked) == model
    await delete(fleet, "anna")


async def test_a_voice_is_designed_once_and_cloned_for_good(fleet: Running) -> None:
    """The recipe of docs/voices.md."""
    line = "Good morning. I will be your guide today."
    asked = config(2.4, voice="", instructions="A warm, low voice.")
    asked.config.audio_format.encoding = pb.AUDIO_ENCODING_WAV
    designed = await turn(fleet, asked, text(line))
    assert designed[0].started.model == "design"
    await create(fleet, "guide", pcm(designed), transcript=line, description="designed, seed 1")
    first, second = [await turn(fleet, config(voice="guide"), text("Here is the old town.")) for _ in range(2)]
    assert first[0].started.model == "base" and first[-1].HasField("summary")
    assert_same_audio(pcm(first), pcm(second))
    await delete(fleet, "guide")


async def test_what_the_named_checkpoint_cannot_do(fleet: Running) -> None:
    await create(fleet, "anna")
    for asked, code, reason, fields in (
        (config(model="other"), INVALID, "FIELD_INVALID", ["config.model"]),
        (config(voice="anna", model="custom"), PRECONDITION, "MODEL_CAPABILITY", []),
        (config(voice="ryan", model="design"), PRECONDITION, "MODEL_CAPABILITY", []),
        (config(voice="nobody"), grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND", []),
    ):
        refused = await failure(fleet.stub.Synthesize(send([asked, text("Hi.")])))
        assert (refused.code, refused.reason, refused.fields) == (code, reason, fields)
    await delete(fleet, "anna")


async def test_a_built_in_voices_name_is_taken(fleet: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(fleet, "RYAN")
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_everything_is_listed(fleet: Running) -> None:
    info = await fleet.stub.GetServerInfo(pb.GetServerInfoRequest())
    assert [model.name for model in info.models] == ["custom", "design", "base"]
    assert (info.max_concurrent_streams, info.voice_creation_enabled) == (6, True)
    await create(fleet, "anna")
    listed = (await fleet.voices.ListVoices(pb.ListVoicesRequest(page_size=100))).voices
    assert {(voice.name, voice.model) for voice in listed} >= {("ryan", "custom"), ("anna", "base")}
    await delete(fleet, "anna")


async def test_one_codec_where_the_files_are_the_same(fleet: Running) -> None:
    custom, design, base = (engine._steps.runner._codec for engine in fleet.engines)  # type: ignore[attr-defined]
    assert base.decoder is design.decoder and base.decoder is not custom.decoder
    assert base.state is not design.state


async def test_a_checkpoint_speaks_as_it_does_alone(fleet: Running, folders: list[Path]) -> None:
    asked = config(voice="", instructions="A low voice.")
    together = pcm(await turn(fleet, asked, text("Hello there.")))
    async with serving(folders[1], max_speeches=2) as alone:
        assert_same_audio(together, pcm(await turn(alone, asked, text("Hello there."))))


async def test_gauges_are_sums_and_counters_know_the_model(fleet: Running) -> None:
    await spoken_by(fleet, config(voice="", instructions="A low voice."))
    fleet.server._update_metrics()
    capacity = sum(engine.state().blocks_capacity for engine in fleet.engines)
    assert fleet.sample("tts_kv_blocks_capacity") == capacity
    assert fleet.sample("tts_audio_seconds_total", model="design") > 0
    assert fleet.sample("tts_codec_frames_total", model="design", used="true") > 0
    assert _build(fleet)["model"] == "custom,design,base"


def _build(fleet: Running) -> dict[str, str]:
    (family,) = (each for each in fleet.server.metrics.registry.collect() if each.name == "tts_build")
    return dict(family.samples[0].labels)


async def test_two_of_one_name_are_refused(folders: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "custom"
    copy.symlink_to(folders[0], target_is_directory=True)
    server = Server(ServerConfig(str(folders[0]), port=0, metrics_port=0, more_models=(str(copy),)))
    await server.start()
    with pytest.raises(CheckpointError, match="one name"):
        await server.load()
    await server.close()


async def test_one_lost_engine_ends_the_server(folders: list[Path]) -> None:
    async with serving(folders[0], more=folders[1:2], max_speeches=2) as running:
        last = running.engines[-1]
        last._steps.runner = Breaking(last._steps.runner)
        refused = await failure(running.stub.Synthesize(send([config(voice="", instructions="low"), text("Hi.")])))
        assert refused.reason == "ENGINE_FAILED"
        assert "RuntimeError" in str(await running.server.watch())
