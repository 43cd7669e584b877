"""Codecs of other frame lengths and sample rates, served side by side, over the wire."""

from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from engine.api.request import Reference
from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Running, config, failure, flush, pcm, send, serving, text, turn
from .test_kinds import recording

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAST: Mapping[str, Any] = {  # 25 frames a second
    "decoder_config": {"upsample_rates": [4, 5, 4, 3]},
    "encoder_config": {"upsampling_ratios": [4, 6, 5, 4]},
}
LOW: Mapping[str, Any] = {"output_sample_rate": 16_000, "decoder_config": {"upsample_rates": [4, 5, 4, 3]}}
WIDTHS = {pb.AUDIO_ENCODING_PCM_S16LE: 2, pb.AUDIO_ENCODING_PCM_F32LE: 4, pb.AUDIO_ENCODING_MULAW: 1}
LENGTH = 0.84  # seconds: 21 frames of 40 ms
WORDS = "One two three four five six seven eight nine ten."


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    root = tmp_path_factory.mktemp("rates")
    fast, base, low = (
        write_checkpoint(root / name, kind, eos_scale=0.0, codec_overrides=dict(codec))
        for name, kind, codec in (
            ("fast", "1.7B-CustomVoice", FAST),
            ("base", "0.6B-Base", FAST),
            ("low", "1.7B-CustomVoice", LOW),
        )
    )
    async with serving(fast, more=(base, low), max_speeches=2) as running:
        yield running
        await running.idle()


def frames_of(responses: list[pb.SynthesizeResponse]) -> list[pb.AudioFrame]:
    return [response.audio for response in responses if response.WhichOneof("payload") == "audio"]


def check_times(responses: list[pb.SynthesizeResponse], seconds: float) -> None:
    """Every start is the sum of the durations before it, and all of them are the turn's length."""
    frames, summary = frames_of(responses), responses[-1].summary
    ends = [frame.pts.ToNanoseconds() + frame.duration.ToNanoseconds() for frame in frames]
    assert frames[0].pts.ToNanoseconds() == 0
    assert all(after.pts.ToNanoseconds() == end for end, (_, after) in zip(ends, pairwise(frames), strict=False))
    assert summary.audio_duration.ToNanoseconds() == ends[-1] == round(seconds * 1e9)


async def test_the_server_tells_the_checkpoints_own_frame(fast: Running) -> None:
    info = await fast.stub.GetServerInfo(pb.GetServerInfoRequest())
    assert info.codec_frame.ToMilliseconds() == 40
    assert info.native_sample_rate_hertz == 24_000


@pytest.mark.parametrize(
    ("encoding", "rate"),
    [
        (pb.AUDIO_ENCODING_PCM_S16LE, 24_000),
        (pb.AUDIO_ENCODING_PCM_F32LE, 48_000),
        (pb.AUDIO_ENCODING_MULAW, 8_000),
        (pb.AUDIO_ENCODING_OGG_OPUS, 24_000),
        (pb.AUDIO_ENCODING_FLAC, 16_000),
    ],
)
async def test_a_turn_is_as_long_as_its_frames(fast: Running, encoding: pb.AudioEncoding, rate: int) -> None:
    wanted = pb.AudioFormat(encoding=encoding, sample_rate_hertz=rate)
    responses = await turn(fast, config(LENGTH + 0.039, audio_format=wanted), text(WORDS))  # rounded down to frames
    summary = responses[-1].summary
    assert summary.codec_frames == 21
    assert summary.finish_reason == pb.FINISH_REASON_LENGTH
    assert summary.audio_samples == round(LENGTH * rate)
    check_times(responses, LENGTH)
    if encoding in WIDTHS:
        assert len(pcm(responses)) == WIDTHS[encoding] * summary.audio_samples


async def test_chunks_are_of_as_many_frames_as_asked(fast: Running) -> None:
    delivery = pb.DeliveryOptions(first_chunk_frames=4, max_chunk_frames=8)
    frames = frames_of(await turn(fast, config(LENGTH, delivery=delivery), text(WORDS)))
    milliseconds = [frame.duration.ToMilliseconds() for frame in frames]
    assert milliseconds[0] == 160
    assert all(length % 40 == 0 and length <= 320 for length in milliseconds)


async def test_marks_lie_where_their_audio_ends(fast: Running) -> None:
    responses = await turn(fast, config(LENGTH), text(WORDS), flush("mark"))
    (done,) = (response.flush_done for response in responses if response.WhichOneof("payload") == "flush_done")
    assert done.pts.ToNanoseconds() == round(LENGTH * 1e9)


async def test_a_frame_is_the_shortest_audio(fast: Running) -> None:
    responses = await turn(fast, config(0.04), text(WORDS))
    assert responses[-1].summary.codec_frames == 1
    refused = await failure(fast.stub.Synthesize(send([config(0.03), text(WORDS)])))
    assert refused.fields == ["config.sampling.max_audio"]


async def test_a_recording_has_as_many_frames_as_the_codec_makes(fast: Running) -> None:
    reference = pb.ReferenceVoice(audio=recording(), transcript="A tone.")
    responses = await turn(fast, config(LENGTH, voice="", model="base", reference=reference), text(WORDS))
    assert responses[-1].summary.codec_frames == 21
    check_times(responses, LENGTH)
    engine = fast.server.state.catalog().models.cloning
    voice = await engine.clone(Reference(np.ones(36_000, np.float32), "A tone."))
    assert voice.codes is not None
    assert len(voice.codes) == 38  # 1.5 s, and the rest of a frame


@pytest.mark.parametrize("rate", [0, 24_000])
async def test_another_sample_rate_is_the_default_and_can_be_resampled(fast: Running, rate: int) -> None:
    responses = await turn(
        fast, config(0.6, model="low", audio_format=pb.AudioFormat(sample_rate_hertz=rate)), text(WORDS)
    )
    started, summary = responses[0].started, responses[-1].summary
    assert started.audio_format.sample_rate_hertz == (rate or 16_000)
    assert summary.codec_frames == 10  # of 60 ms
    assert summary.audio_samples == 0.6 * started.audio_format.sample_rate_hertz == len(pcm(responses)) // 2
    check_times(responses, 0.6)
