"""A turn's messages keep the laws of the wire, whatever the engine's events and the encoder's delays."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.events import (
    AudioChunk,
    Event,
    Finished,
    FinishReason,
    FlushDone,
    Notice,
    NoticeCode,
    SegmentDone,
    Started,
)
from engine.api.request import TextMode
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.wire import formats
from qwentts_grpc.wire.responses import Payload, ResponseBuilder

FINISHED = Finished(FinishReason.STOP, 3, 10, 4, 7, 0.5, 0.6, 1.0, 0.2, 0)


def chunk(frames: int, first: int = 0, segment: int = 0, last: bool = False) -> AudioChunk:
    pcm = np.arange(frames * 1_920, dtype=np.int16)
    return AudioChunk(pcm, np.zeros((frames, 16), np.int32), first, segment, last, 0.0)


def narrate(
    events: list[Event],
    rate: int = 24_000,
    encoding: int = 1,
    without_effect: tuple[str, ...] = (),
    milliseconds: int | None = None,
) -> list[Payload]:
    wanted = pb.AudioFormat(encoding=encoding, sample_rate_hertz=rate)  # type: ignore[arg-type]
    encoder = formats.encoder(wanted, 24_000, milliseconds and milliseconds * 1_000_000)
    responses = ResponseBuilder(pb.Started(seed=7, audio_format=wanted), encoder, 0.08, without_effect)
    return [message for event in events for message in responses.messages(event)]


def audio(messages: list[Payload]) -> list[pb.AudioFrame]:
    return [message for message in messages if isinstance(message, pb.AudioFrame)]


def nanoseconds(frames: list[pb.AudioFrame]) -> list[tuple[int, int]]:
    return [(frame.pts.ToNanoseconds(), frame.duration.ToNanoseconds()) for frame in frames]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 25), min_size=1, max_size=8),
    st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000]),
    st.sampled_from([1, 2, 3, 4, 7]),
)
def test_sequence_pts_and_samples_add_up(sizes: list[int], rate: int, encoding: int) -> None:
    events: list[Event] = [Started(7, 0.5)]
    events += [chunk(size, last=index == len(sizes) - 1) for index, size in enumerate(sizes)]
    messages = narrate([*events, FINISHED], rate, encoding)
    frames = audio(messages)
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    assert [frame.last for frame in frames] == [False] * (len(frames) - 1) + [True]
    for (start, length), (following, _) in itertools.pairwise(nanoseconds(frames)):
        assert start + length == following
    summary = messages[-1]
    assert isinstance(summary, pb.Summary)
    assert summary.audio_frames == len(frames)
    assert summary.audio_samples == sum(sizes) * 1_920 * rate // 24_000
    assert summary.audio_duration.ToNanoseconds() == sum(nanoseconds(frames)[-1])
    width = {1: 2, 2: 4, 3: 1, 4: 1, 7: 2}[encoding]
    header = 44 if encoding == 7 else 0
    assert sum(len(frame.data) for frame in frames) == summary.audio_samples * width + header


def test_started_comes_first_even_where_a_notice_was_earlier() -> None:
    notice = Notice(NoticeCode.DRAINING, "soon")
    messages = narrate(
        [notice, Started(7, 0.25), chunk(1, last=True), FINISHED], without_effect=("instructions: not followed",)
    )
    assert [type(message) for message in messages] == [pb.Started, pb.Notice, pb.Notice, pb.AudioFrame, pb.Summary]
    assert isinstance(messages[0], pb.Started) and messages[0].queue_wait.ToMilliseconds() == 250
    codes = [message.code for message in messages if isinstance(message, pb.Notice)]
    assert codes == [pb.NOTICE_CODE_VALUE_ADJUSTED, pb.NOTICE_CODE_DRAINING]


def test_a_turn_cancelled_in_the_queue_is_whole() -> None:
    messages = narrate([chunk(0, last=True), FINISHED])
    assert [type(message) for message in messages] == [pb.Started, pb.AudioFrame, pb.Summary]
    assert audio(messages)[0].last and not audio(messages)[0].data


def test_an_engine_that_marks_no_last_chunk_gets_an_empty_one() -> None:
    frames = audio(narrate([Started(7, 0), chunk(2), FINISHED]))
    assert [(frame.last, len(frame.data)) for frame in frames] == [(False, 7_680), (True, 0)]


def test_a_flush_is_answered_with_its_mark_and_place() -> None:
    messages = narrate([Started(7, 0), chunk(2), FlushDone("one", 0), chunk(1, 2, 1, last=True), FINISHED])
    done = messages[2]
    assert isinstance(done, pb.FlushDone)
    assert (done.mark, done.segment, done.pts.ToMilliseconds()) == ("one", 0, 160)
    assert [frame.segment for frame in audio(messages)] == [0, 1]


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_reason_has_a_number_of_its_own(reason: FinishReason) -> None:
    finished = Finished(reason, 3, 10, 4, 7, 0.5, 0.6, 1.0, 0.2, 2)
    summary = narrate([Started(7, 0.5), finished])[-1]
    assert isinstance(summary, pb.Summary)
    assert pb.FinishReason.Name(summary.finish_reason) == f"FINISH_REASON_{reason.name}"
    assert (summary.codec_frames, summary.text_characters, summary.text_tokens, summary.seed) == (3, 10, 4, 7)
    assert (summary.underruns, summary.longest_gap.ToMilliseconds()) == (2, 200)
    assert (summary.queue_wait.ToMilliseconds(), summary.time_to_first_audio.ToMilliseconds()) == (500, 600)


def test_durations_are_exact_at_a_rate_that_nanoseconds_cannot_hold() -> None:
    frames = audio(narrate([Started(7, 0), *[chunk(1) for _ in range(9)], FINISHED], rate=44_100))
    total = sum(length for _, length in nanoseconds(frames))
    assert total == round(9 * 3_528 * 1_000_000_000 / 44_100)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_flush_comes_behind_all_audio_of_its_segment_at_every_rate(rate: int) -> None:
    events: list[Event] = [Started(7, 0)]
    for segment in range(3):
        events += [chunk(1, segment=segment), chunk(2, segment=segment), FlushDone(f"{segment}", segment)]
    messages = narrate([*events, FINISHED], rate)
    marks = [message for message in messages if isinstance(message, pb.FlushDone)]
    for number, mark in enumerate(marks):
        before = audio(messages[: messages.index(mark)])
        assert mark.pts.ToNanoseconds() == sum(nanoseconds(before)[-1]) == (number + 1) * 240_000_000
        assert {frame.segment for frame in before} == set(range(number + 1))


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_text_is_told_behind_all_its_audio(rate: int) -> None:
    done = SegmentDone(0, 3, 9, 1, 2, TextMode.WHOLE)
    messages = narrate([Started(7, 0), chunk(1), chunk(2), done, chunk(1, last=True), FINISHED], rate)
    (told,) = [message for message in messages if isinstance(message, pb.SegmentDone)]
    assert sum(nanoseconds(audio(messages[: messages.index(told)]))[-1]) == told.end_pts.ToNanoseconds() == 240_000_000
    assert (told.text_start, told.text_end, told.start_pts.ToMilliseconds()) == (3, 9, 80)
    assert told.text_mode == pb.TEXT_MODE_WHOLE


def test_frames_of_one_length_keep_it_across_segments() -> None:
    events: list[Event] = [chunk(1), FlushDone("a", 0), chunk(1, 1, 1), FlushDone("b", 1), chunk(1, 2, 2, last=True)]
    messages = narrate([Started(7, 0), *events, FINISHED], 8_000, milliseconds=60)
    frames = audio(messages)
    assert [frame.duration.ToMilliseconds() for frame in frames] == [60, 60, 60, 60]
    assert [frame.segment for frame in frames] == [0, 0, 1, 2]
    marks = [message for message in messages if isinstance(message, pb.FlushDone)]
    assert [mark.pts.ToMilliseconds() for mark in marks] == [80, 160]
