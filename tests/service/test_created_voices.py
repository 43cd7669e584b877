"""Voices that callers make: over the wire, for good, and in nobody's way."""

import asyncio
import errno
import hashlib
import os
import statistics
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from engine.api.request import SpeechRequest
from engine.checkpoint.dummy import write_checkpoint
from engine.engine import Engine
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.server import server as server_module
from qwentts_grpc.wire.caller import UNKNOWN

from .conftest import Running, config, failure, kinds, pcm, send, serving, text, turn
from .test_cli import run
from .test_kinds import clone, recording
from .test_turns import assert_same_audio

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORDS = "A tone."
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def base(base_checkpoint: Path) -> AsyncIterator[Running]:
    async with serving(base_checkpoint, max_speeches=2) as running:
        yield running
        await running.idle()


def upload(name: str, audio: bytes = b"", piece: int = 10_000, **spec: Any) -> Iterator[pb.CreateVoiceRequest]:
    fields = {"transcript": WORDS, **spec}
    yield pb.CreateVoiceRequest(spec=pb.VoiceSpec(name=name, **fields))
    audio = audio or recording()
    for start in range(0, len(audio), piece):
        yield pb.CreateVoiceRequest(audio=audio[start : start + piece])


async def create(running: Running, *arguments: Any, **spec: Any) -> pb.Voice:
    made: pb.CreateVoiceResponse = await running.voices.CreateVoice(upload(*arguments, **spec), timeout=60)
    return made.voice


async def names(running: Running, language: str = "") -> list[str]:
    listed = await running.voices.ListVoices(pb.ListVoicesRequest(language=language))
    return [voice.name for voice in listed.voices]


async def delete(running: Running, name: str) -> None:
    await running.voices.DeleteVoice(pb.DeleteVoiceRequest(name=name))


async def test_a_full_disk_is_said_with_a_time_to_try_again(
    base_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with serving(base_checkpoint, voice_dir=tmp_path) as running:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            refused = await failure(running.voices.CreateVoice(upload("Anna"), timeout=60))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
        assert refused.retry_milliseconds
        await create(running, "Anna")


async def test_a_created_voice_is_listed_spoken_with_and_deleted(base: Running) -> None:
    digest = hashlib.sha256(recording()).digest()
    made = await create(base, "Anna", audio_sha256=digest, description="warm", consent_reference="form 7")
    assert (made.name, made.kind, made.model, made.description) == (
        "Anna",
        pb.VOICE_KIND_CLONED,
        "tiny-base",
        "warm",
    )
    assert made.create_time.seconds > 1_700_000_000
    assert (await base.voices.GetVoice(pb.GetVoiceRequest(name="aNNa"))).voice == made
    assert (await names(base, "english"), await names(base, "klingon")) == (["Anna"], [])
    spoken = await turn(base, config(voice="anna"), text("Now speak."))
    assert spoken[0].started.voice == "anna"
    same = await turn(base, clone(recording(), transcript=WORDS), text("Now speak."))
    assert_same_audio(pcm(spoken), pcm(same))
    await delete(base, "ANNA")
    assert await names(base) == []
    gone = await failure(base.stub.Synthesize(send([config(voice="anna"), text("Hi.")])))
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND")
    again = await failure(base.voices.DeleteVoice(pb.DeleteVoiceRequest(name="anna")))
    assert again.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("form", "rate", "channels"), [("WAV", 44_100, 2), ("FLAC", 8_000, 1), ("FLAC", 96_000, 2), ("OGG", 48_000, 2)]
)
async def test_recordings_of_any_kind(base: Running, form: str, rate: int, channels: int) -> None:
    await create(base, "tone", recording(1.5, rate, channels, form=form))
    assert kinds(await turn(base, config(voice="tone"), text("Now speak.")))[-1] == "summary"
    await delete(base, "tone")


async def test_a_recording_that_teaches_nothing_is_refused_and_a_poor_one_has_a_notice(base: Running) -> None:
    silence, faint = recording(level=0.0), recording(level=0.005)
    refused = await failure(base.voices.CreateVoice(upload("silence", silence), timeout=60))
    assert (refused.code, refused.fields) == (INVALID, ["audio"]) and "silent" in refused.message
    refused = await failure(base.stub.Synthesize(send([clone(silence, transcript=WORDS), text("Hi.")])))
    assert (refused.code, refused.fields) == (INVALID, ["config.reference.audio"])
    assert await names(base) == []
    made = await base.voices.CreateVoice(upload("faint", faint), timeout=60)
    spoken = await turn(base, clone(faint, transcript=WORDS), text("Now speak."))
    told = [*made.notices, *(response.notice for response in spoken if response.HasField("notice"))]
    assert [notice.code for notice in told] == [pb.NOTICE_CODE_REFERENCE_QUALITY] * 2
    assert {"very quiet" in notice.message for notice in told} == {True}
    await delete(base, "faint")


async def test_a_minute_of_speech_fits_one_message(base: Running) -> None:
    minute = recording(60.0, 44_100, 1, form="WAV")
    assert len(minute) > 5 * 2**20
    assert kinds(await turn(base, clone(minute, speaker_embedding_only=True), text("Hi.")))[-1] == "summary"


async def test_a_voice_outlives_its_server(base_checkpoint: Path, tmp_path: Path) -> None:
    heard = []
    async with serving(base_checkpoint, tmp_path / "voices") as running:
        await create(running, "with-words")
        await create(running, "by-speaker", transcript="", speaker_embedding_only=True)
        for name in ("with-words", "by-speaker"):
            heard.append(pcm(await turn(running, config(voice=name), text("Now speak."))))
    async with serving(base_checkpoint, tmp_path / "voices") as running:
        assert await names(running) == ["by-speaker", "with-words"]
        for name, before in zip(("with-words", "by-speaker"), heard, strict=True):
            assert await begins_at_once(running, name)
            assert_same_audio(pcm(await turn(running, config(voice=name), text("Now speak."))), before)
        assert running.sample("tts_voice_prompt_cache_misses_total") == 2  # as the server started
    assert heard[0] != heard[1]


async def test_a_voice_that_another_size_of_checkpoint_made_is_refused(tmp_path: Path, base_checkpoint: Path) -> None:
    large = write_checkpoint(tmp_path / "large" / "tiny-base", "1.7B-Base", seed=5)
    async with serving(base_checkpoint, tmp_path / "voices") as running:
        await create(running, "small")
    async with serving(large, tmp_path / "voices") as running:
        refused = await failure(running.stub.Synthesize(send([config(voice="small"), text("Hi.")])))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_CAPABILITY")


@pytest.mark.parametrize(
    ("name", "fields", "reason", "field"),
    [
        ("../x", {}, "FIELD_INVALID", "spec.name"),
        ("", {}, "FIELD_INVALID", "spec.name"),
        ("v", {"transcript": " "}, "FIELD_INVALID", "spec.transcript"),
        ("v", {"description": "x" * 1_001}, "FIELD_INVALID", "spec.description"),
        ("v", {"audio_sha256": b"short"}, "FIELD_INVALID", "spec.audio_sha256"),
        ("v", {"audio_sha256": bytes(32)}, "FIELD_INVALID", "spec.audio_sha256"),
        ("v", {"audio": b"RIFF, so they say"}, "FIELD_INVALID", "audio"),
        ("v", {"audio": recording(0.5)}, "REFERENCE_DURATION", "audio"),
        ("v", {"audio": recording(61, rate=8_000, channels=1)}, "REFERENCE_DURATION", "audio"),
        ("v", {"audio": recording(600, rate=8_000, channels=1, pitch=0.0)}, "REFERENCE_DURATION", "audio"),  # a bomb
        ("v", {"audio": bytes(10 * 2**20 + 1), "piece": 2**20}, "FIELD_INVALID", "audio"),
    ],
)
async def test_what_makes_no_voice(base: Running, name: str, fields: dict[str, Any], reason: str, field: str) -> None:
    refused = await failure(base.voices.CreateVoice(upload(name, **fields), timeout=60))
    assert (refused.code, refused.reason, refused.fields) == (INVALID, reason, [field])
    assert await names(base) == []


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", "a/b", "a\0", "x" * 65])
async def test_names_that_could_be_paths_name_nobody(base: Running, name: str) -> None:
    get = base.voices.GetVoice(pb.GetVoiceRequest(name=name))
    remove = base.voices.DeleteVoice(pb.DeleteVoiceRequest(name=name))
    for call in (get, remove, base.stub.Synthesize(send([config(voice=name), text("Hi.")]))):
        assert (await failure(call)).code is grpc.StatusCode.NOT_FOUND


async def test_the_order_of_messages(base: Running) -> None:
    audio, spec = pb.CreateVoiceRequest(audio=b"RIFF"), next(upload("v"))
    for messages, field in (([], "spec"), ([audio], "spec"), ([spec, spec], "payload"), ([spec], "audio")):
        refused = await failure(base.voices.CreateVoice(iter(messages)))
        assert (refused.code, refused.fields) == (INVALID, [field])


async def test_a_name_is_taken_once_in_any_case_whatever_comes_at_once(base: Running) -> None:
    calls = [base.voices.CreateVoice(upload(name), timeout=60) for name in ("Bob", "bob", "BOB", "bOB")]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result.code() for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert refused == [grpc.StatusCode.ALREADY_EXISTS] * 3
    assert [name.casefold() for name in await names(base)] == ["bob"]
    await delete(base, "bob")


async def test_a_hundred_at_once(base: Running) -> None:
    small = recording(1.0, rate=8_000, channels=1)
    wanted = [f"v{number:03}" for number in range(100)]
    await asyncio.gather(*(create(base, name, small, transcript="", speaker_embedding_only=True) for name in wanted))
    pages = await base.voices.ListVoices(pb.ListVoicesRequest(page_size=60))
    rest = await base.voices.ListVoices(pb.ListVoicesRequest(page_size=60, page_token=pages.next_page_token))
    assert [voice.name for voice in (*pages.voices, *rest.voices)] == wanted
    for name in wanted:
        await delete(base, name)


async def test_a_turn_goes_on_with_the_voice_that_is_deleted_meanwhile(base: Running) -> None:
    await create(base, "carol")
    alone = pcm(await turn(base, config(1.6, voice="carol"), text("Now speak on and on.")))
    call = base.stub.Synthesize(send([config(1.6, voice="carol"), text("Now speak"), 0.3, text(" on and on.")]))
    responses = [await call.read()]
    await delete(base, "carol")
    while not responses[-1].HasField("summary"):
        responses.append(await call.read())
    assert kinds(responses)[0] == "started"
    assert_same_audio(pcm(responses), alone)


async def begins_at_once(running: Running, name: str) -> bool:
    """Whether nothing has to be encoded or heard before a turn in this voice."""
    catalog = running.server.state.catalog()
    engine = catalog.models.named(catalog.origin_model(name, UNKNOWN))
    assert isinstance(engine, Engine)
    return engine._prompt_builder.is_ready(SpeechRequest(kept=await catalog.load(name, "")))


async def test_a_created_voice_is_heard_as_soon_as_a_built_in_one(base_checkpoint: Path, tmp_path: Path) -> None:
    custom = write_checkpoint(tmp_path / "custom", "0.6B-CustomVoice", seed=5)
    async with serving(base_checkpoint, tmp_path / "voices") as running:
        await create(running, "dora")
        assert await begins_at_once(running, "dora")
    async with serving(custom, tmp_path / "voices", [base_checkpoint]) as running:
        assert await begins_at_once(running, "dora")
        waits: dict[str, list[float]] = {"dora": [], "ryan": []}
        for name in ("dora", "ryan") * 15:
            summary = (await turn(running, config(0.16, voice=name), text("Now speak.")))[-1].summary
            waits[name].append(summary.time_to_first_audio.ToNanoseconds() / 1e6)
        await running.idle()
    first, (created, built_in) = waits["dora"][0], [statistics.median(waits[name][1:]) for name in ("dora", "ryan")]
    print(f"first audio: created {created:.1f} ms, built in {built_in:.1f} ms; right after the start {first:.1f} ms")
    assert created < built_in + 50


async def test_voices_beyond_the_time_for_them_wait_for_their_first_turn(
    base_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(base_checkpoint, tmp_path / "voices") as running:
        await create(running, "dora")
    monkeypatch.setattr(server_module, "PREWARM_SECONDS", 0.0)
    async with serving(base_checkpoint, tmp_path / "voices") as running:
        assert not await begins_at_once(running, "dora")
        assert kinds(await turn(running, config(voice="dora"), text("Now speak.")))[-1] == "summary"
        assert await begins_at_once(running, "dora")


async def test_lookups_are_counted(base: Running) -> None:
    await create(base, "emil")
    hits = base.sample("tts_voice_prompt_cache_hits_total")
    await turn(base, config(voice="emil"), text("Hi."))
    assert base.sample("tts_voice_prompt_cache_hits_total") == hits + 1
    assert base.sample("tts_voice_prompt_cache_misses_total") == 0
    base.server._update_metrics()
    assert base.sample("tts_voice_prompt_cache_bytes") > 1_000
    await delete(base, "emil")


async def test_only_a_base_checkpoint_makes_voices(tts: Running, base: Running) -> None:
    refused = await failure(tts.voices.CreateVoice(upload("v")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_CAPABILITY")
    offers = [(await each.stub.GetServerInfo(pb.GetServerInfoRequest())).voice_creation_enabled for each in (tts, base)]
    assert offers == [False, True]


async def test_a_built_in_voice_cannot_be_deleted(tts: Running) -> None:
    refused = await failure(tts.voices.DeleteVoice(pb.DeleteVoiceRequest(name="Ryan")))
    assert (refused.code, refused.fields) == (INVALID, ["name"])


async def test_the_command_line_creates_lists_speaks_and_deletes(base: Running, tmp_path: Path) -> None:
    audio, out = tmp_path / "tone.flac", tmp_path / "out.wav"
    audio.write_bytes(recording())
    server = ("--server", base.address)
    create = ("voices", "create", "frida", "--audio", str(audio), "--transcript", WORDS, *server)
    done = await asyncio.to_thread(run, *create)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (await asyncio.to_thread(run, *create)).stderr == "qwentts-grpc: ALREADY_EXISTS: voice 'frida' exists\n"
    listed = await asyncio.to_thread(run, "voices", *server)
    assert listed.stdout.startswith("frida ")
    spoken = await asyncio.to_thread(run, "speak", "Hi.", "--voice", "frida", "--out", str(out), *server)
    assert spoken.returncode == 0 and out.stat().st_size > 1_000
    assert (await asyncio.to_thread(run, "voices", *server, "delete", "frida")).returncode == 0
    assert await names(base) == []
