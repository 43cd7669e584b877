"""A speech's events as wire messages.

`sequence` has no holes, `pts` is the sum of durations, and one Summary comes last.
"""

from collections.abc import Iterator

import numpy as np
from google.protobuf.duration_pb2 import Duration

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
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.audio.encoded import Encoded
from qwentts_grpc.audio.encoders import Encoder
from qwentts_grpc.audio.resample import Pcm

Payload = (
    tts_pb2.Started | tts_pb2.AudioFrame | tts_pb2.SegmentDone | tts_pb2.FlushDone | tts_pb2.Notice | tts_pb2.Summary
)

_FINISH_REASONS = {
    FinishReason.STOP: tts_pb2.FINISH_REASON_STOP,
    FinishReason.CANCELLED: tts_pb2.FINISH_REASON_CANCELLED,
    FinishReason.LENGTH: tts_pb2.FINISH_REASON_LENGTH,
    FinishReason.GUARD: tts_pb2.FINISH_REASON_GUARD,
}
_NOTICES = {
    NoticeCode.DRAINING: tts_pb2.NOTICE_CODE_DRAINING,
    NoticeCode.TEXT_STARVED: tts_pb2.NOTICE_CODE_TEXT_STARVED,
    NoticeCode.PACED: tts_pb2.NOTICE_CODE_PACED,
}
_TEXT_MODES = {
    TextMode.INCREMENTAL: tts_pb2.TEXT_MODE_INCREMENTAL,
    TextMode.WHOLE: tts_pb2.TEXT_MODE_WHOLE,
}
# The field of the response's oneof for each kind of message; both response types use the same names.
FIELDS: dict[type[Payload], str] = {
    tts_pb2.Started: "started",
    tts_pb2.AudioFrame: "audio",
    tts_pb2.SegmentDone: "segment_done",
    tts_pb2.FlushDone: "flush_done",
    tts_pb2.Notice: "notice",
    tts_pb2.Summary: "summary",
}

NOTHING: Pcm = np.zeros(0, np.int16)


class ResponseBuilder:
    """Messages of one turn.

    `first`: the `Started` to send, without the wait for a slot. `without_effect`, `notices`: further notices.
    `samples`: length of the turn so far at the output rate.

    `Started` always comes first: notices wait for it, and a turn cancelled in the queue still has one.
    """

    def __init__(
        self,
        first: tts_pb2.Started,
        encoder: Encoder,
        frame_seconds: float,
        without_effect: tuple[str, ...] = (),
        notices: tuple[tts_pb2.Notice, ...] = (),
    ) -> None:
        self.samples = 0
        self._audio_frames = self._codec_frames = 0
        self.model = first.model
        self._first = first
        self._rate = first.audio_format.sample_rate_hertz
        self._encoder = encoder
        self._frame_seconds = frame_seconds
        self._waiting = [
            tts_pb2.Notice(code=tts_pb2.NOTICE_CODE_VALUE_ADJUSTED, message=message) for message in without_effect
        ]
        self._waiting += notices
        self._segment = self._newest = 0  # first sample of the next frame's segment, and of the latest audio
        self._begun = False
        self._ended = False

    @property
    def seconds(self) -> float:
        """Length of the turn so far in seconds."""
        return self.samples / self._rate

    def messages(self, event: Event) -> Iterator[Payload]:
        """Messages for `event`, in order.

        Often one; none for audio that the encoder holds back.
        """
        match event:
            case Started():
                self._first.text_mode = _TEXT_MODES[event.text_mode]
                yield from self._begin(event.queue_wait)
            case Notice():
                yield from self._notice(tts_pb2.Notice(code=_NOTICES[event.code], message=event.message))
            case AudioChunk():
                yield from self._begin()
                yield from self._audio(event)
            case SegmentDone():
                yield from self._end_segment()
                yield _segment_done(event, self._frame_seconds)
            case FlushDone():
                yield from self._end_segment()
                end = seconds(self._codec_frames * self._frame_seconds)
                yield tts_pb2.FlushDone(mark=event.mark, segment=event.segment, pts=end)
            case Finished():
                yield from self._begin(event.queue_wait)
                yield from self._finished(event)

    def _begin(self, queue_wait: float = 0.0) -> Iterator[Payload]:
        if not self._begun:
            self._begun = True
            self._first.queue_wait.CopyFrom(seconds(queue_wait))
            yield self._first
            yield from self._waiting

    def _notice(self, notice: tts_pb2.Notice) -> Iterator[Payload]:
        if self._begun:
            yield notice
        else:
            self._waiting.append(notice)

    def _audio(self, event: AudioChunk) -> Iterator[Payload]:
        self._newest = event.segment
        self._codec_frames += len(event.codes)
        if not self._encoder.holds:
            self._segment = event.segment
        if event.last:
            yield from self._last(event.pcm)
        else:
            yield from map(self._frame, self._encoder.encode(event.pcm))

    def _end_segment(self) -> Iterator[Payload]:
        if not self._ended:
            yield from map(self._frame, self._encoder.end_segment())

    def _finished(self, event: Finished) -> Iterator[Payload]:
        if not self._ended:
            yield from self._last(NOTHING)
        yield tts_pb2.Summary(
            finish_reason=_FINISH_REASONS[event.reason],
            audio_duration=self._at(self.samples),
            audio_samples=self.samples,
            audio_frames=self._audio_frames,
            codec_frames=event.frames,
            text_characters=event.text_characters,
            text_tokens=event.text_tokens,
            seed=event.seed,
            queue_wait=seconds(event.queue_wait),
            time_to_first_audio=seconds(event.time_to_first_audio),
            total_time=seconds(event.total_time),
            longest_gap=seconds(event.longest_gap),
            underruns=event.underruns,
            server_time_to_first_audio=seconds(event.server_first_audio),
            text_underruns=_underruns(event, "text"),
            engine_underruns=_underruns(event, "engine"),
            client_underruns=_underruns(event, "client"),
            work_time=seconds(event.work),
        )

    def _last(self, pcm: Pcm) -> Iterator[tts_pb2.AudioFrame]:
        self._ended = True
        *frames, last = map(self._frame, self._encoder.finish(pcm))
        last.last = True
        yield from (*frames, last)

    def _frame(self, encoded: Encoded) -> tts_pb2.AudioFrame:
        start, self.samples = self.samples, self.samples + encoded.samples
        sequence, self._audio_frames = self._audio_frames, self._audio_frames + 1
        segment, self._segment = self._segment, self._newest
        return tts_pb2.AudioFrame(
            data=encoded.data,
            sequence=sequence,
            pts=self._at(start),
            duration=_nanoseconds(self._nanoseconds_at(self.samples) - self._nanoseconds_at(start)),
            segment=segment,
        )

    def _at(self, samples: int) -> Duration:
        return _nanoseconds(self._nanoseconds_at(samples))

    def _nanoseconds_at(self, samples: int) -> int:
        # Rounded as a point in time, so that durations, being differences, add up to it exactly.
        return round(samples * 1_000_000_000 / self._rate)


def _underruns(event: Finished, cause: str) -> tts_pb2.Underruns:
    lateness = event.lateness
    return tts_pb2.Underruns(count=lateness.underruns[cause], duration=seconds(lateness.seconds[cause]))


def _segment_done(event: SegmentDone, frame_seconds: float) -> tts_pb2.SegmentDone:
    return tts_pb2.SegmentDone(
        segment=event.segment,
        text_start=event.text_start,
        text_end=event.text_end,
        start_pts=seconds(event.first_frame * frame_seconds),
        end_pts=seconds((event.first_frame + event.frames) * frame_seconds),
        text_mode=_TEXT_MODES[event.text_mode],
    )


def seconds(value: float) -> Duration:
    """Wire duration of `value` seconds; None becomes zero."""
    return _nanoseconds(max(0, round(value * 1e9)))


def _nanoseconds(value: int) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(value)
    return duration
