"""What each kind of checkpoint serves over the wire: a clone by recording, a designed voice, and what it refuses."""

import asyncio
import io
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
import pytest_asyncio
import soundfile

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Running, config, failure, kinds, pcm, send, serving, text, turn

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def base(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = write_checkpoint(tmp_path_factory.mktemp("kinds") / "tiny-base", "0.6B-Base", seed=5)
    async with serving(folder, max_speeches=2) as running:
        yield running
        await running.idle()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def design(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = write_checkpoint(tmp_path_factory.mktemp("kinds") / "tiny-design", "1.7B-VoiceDesign", seed=5)
    async with serving(folder, max_speeches=2) as running:
        yield running
        await running.idle()


def recording(
    seconds: float = 1.5,
    rate: int = 16_000,
    channels: int = 2,
    pitch: float = 200.0,
    form: str = "FLAC",
    level: float = 0.3,
) -> bytes:
    """A tone as a file."""
    time = np.arange(round(seconds * rate)) / rate
    tone = level * np.sin(2 * np.pi * pitch * time)
    with io.BytesIO() as file:
        soundfile.write(file, np.stack([tone] * channels, axis=1), rate, format=form)
        return file.getvalue()


def clone(audio: bytes, **fields: object) -> pb.SynthesizeRequest:
    return config(voice="", reference=pb.ReferenceVoice(audio=audio, **fields))  # type: ignore[arg-type]


async def test_a_recording_is_cloned_with_its_words_or_by_its_speaker(base: Running) -> None:
    with_words = await turn(base, clone(recording(), transcript="A tone."), text("Now speak."))
    by_speaker = await turn(base, clone(recording(), speaker_embedding_only=True), text("Now speak."))
    another = await turn(base, clone(recording(pitch=90), speaker_embedding_only=True), text("Now speak."))
    assert {kinds(responses)[-1] for responses in (with_words, by_speaker, another)} == {"summary"}
    assert len({pcm(with_words), pcm(by_speaker), pcm(another)}) == 3
    assert pcm(await turn(base, clone(recording(), transcript="A tone."), text("Now speak.")))


async def test_a_recording_must_be_long_enough_short_enough_and_have_its_words(base: Running) -> None:
    for audio, words, reason, field in (
        (recording(0.3), "x", "REFERENCE_DURATION", "config.reference.audio"),
        (recording(61, rate=8_000, channels=1), "x", "REFERENCE_DURATION", "config.reference.audio"),
        (recording(), "", "FIELD_INVALID", "config.reference.transcript"),
        (b"", "x", "FIELD_INVALID", "config.reference.audio"),
    ):
        refused = await failure(base.stub.Synthesize(send([clone(audio, transcript=words), text("Hi.")])))
        assert (refused.code, refused.reason, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, reason, [field])


async def test_a_clone_that_is_cancelled_while_it_is_encoded_leaves_nothing(base: Running) -> None:
    call = base.stub.Synthesize(send([clone(recording(50.0), transcript="A tone."), text("Hi."), 60.0]))
    while not base.server.state.speeches:
        await asyncio.sleep(0.002)
    call.cancel()
    await base.idle()


async def test_a_base_checkpoint_has_no_instructions(base: Running) -> None:
    asked = clone(recording(), transcript="A tone.")
    asked.config.instructions = "softly"
    refused = await failure(base.stub.Synthesize(send([asked, text("Hi.")])))
    assert (refused.code, refused.reason) == (PRECONDITION, "MODEL_CAPABILITY")


async def test_a_voice_is_designed_by_instructions(design: Running) -> None:
    low = await turn(design, config(voice="", instructions="A low voice."), text("Hello."))
    high = await turn(design, config(voice="", instructions="A high voice."), text("Hello."))
    assert kinds(low)[-1] == "summary" and pcm(low) != pcm(high)
    refused = await failure(design.stub.Synthesize(send([config(voice="ryan"), text("Hi.")])))
    assert (refused.code, refused.reason) == (PRECONDITION, "MODEL_CAPABILITY")
    assert not (await design.voices.ListVoices(pb.ListVoicesRequest())).voices
