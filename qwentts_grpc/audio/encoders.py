"""Encodings of the contract: PCM to wire frames."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.api.errors import InvalidRequest
from engine.api.request import in_range
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.audio import opus, resample
from qwentts_grpc.audio.encoded import Body, Encoded
from qwentts_grpc.audio.flac import Flac
from qwentts_grpc.audio.libav import PACKETS_PER_SECOND
from qwentts_grpc.audio.resample import Pcm, Resampler
from qwentts_grpc.audio.samplewise import Samplewise, alaw, f32le, mulaw, s16le, wav_head


@dataclass(frozen=True, slots=True)
class Encoding:
    """A row of `ENCODINGS`.

    Its number in the contract, and its body for an output rate. `sample_rates` in Hz. `packets`: whether a frame is a
    whole number of 20 ms packets.
    """

    number: tts_pb2.AudioEncoding
    make: Callable[[int], Body]
    sample_rates: tuple[int, ...] = resample.SAMPLE_RATES
    packets: bool = False

    @property
    def name(self) -> str:
        """Name in the contract, without the enum's prefix."""
        return tts_pb2.AudioEncoding.Name(self.number).removeprefix("AUDIO_ENCODING_")


_ROWS = (
    Encoding(tts_pb2.AUDIO_ENCODING_PCM_S16LE, lambda rate: Samplewise(s16le)),
    Encoding(tts_pb2.AUDIO_ENCODING_PCM_F32LE, lambda rate: Samplewise(f32le)),
    Encoding(tts_pb2.AUDIO_ENCODING_MULAW, lambda rate: Samplewise(mulaw)),
    Encoding(tts_pb2.AUDIO_ENCODING_ALAW, lambda rate: Samplewise(alaw)),
    Encoding(tts_pb2.AUDIO_ENCODING_OGG_OPUS, opus.OggOpus, opus.SAMPLE_RATES, packets=True),
    Encoding(tts_pb2.AUDIO_ENCODING_FLAC, Flac, packets=True),
    Encoding(tts_pb2.AUDIO_ENCODING_WAV, lambda rate: Samplewise(s16le, wav_head(rate))),
)
ENCODINGS: Mapping[int, Encoding] = {row.number: row for row in _ROWS}
FRAME_FIELD = "delivery.frame_duration"
SHORTEST_FRAME, LONGEST_FRAME = 0.01, 1.0  # seconds


class Encoder:
    """Encoder of one turn: `encode` each chunk, `finish` once.

    The bytes in order are one valid stream. Every frame but the last is a whole multiple of 20 ms, or exactly `exact`
    samples. The decoded audio does not depend on the division of a segment's PCM (Opus: the packets are the same
    bytes). The `samples` of each frame count at `sample_rate`; together they are the resampler's exact output length,
    so a frame's start is the sum of the durations before it. A header travels with the first bytes of audio. Opus is
    6.5 ms behind from its first frame on.
    """

    def __init__(self, native: int, sample_rate: int, body: Body, exact: int = 0) -> None:
        self._resampler = Resampler(native, sample_rate)
        self._body = body
        self._head = body.head
        self._exact = exact
        self._unit = exact or sample_rate // PACKETS_PER_SECOND
        self._held = np.zeros(0, np.int16)

    @property
    def holds(self) -> bool:
        """Whether the next frame begins with samples of earlier input."""
        return self._held.size > 0

    def encode(self, pcm: Pcm) -> list[Encoded]:
        """Frames completed by (n,) int16 at the native rate."""
        return self._encoded(self._whole(self._resampler.process(pcm)))

    def end_segment(self) -> list[Encoded]:
        """Frames completed by a segment's end.

        Later input is resampled by itself.
        """
        return self._encoded(self._whole(self._resampler.finish()))

    def finish(self, pcm: Pcm) -> list[Encoded]:
        """The last frames, at least one.

        A turn without audio is a header at most.
        """
        frames = [*self.encode(pcm), *self.end_segment()]
        last = self._headed(self._body.encode(self._held) + self._body.finish())
        if not self._exact:
            return [sum(frames, Encoded(b"", 0)) + last]
        if frames and not last.samples:
            return [*frames[:-1], frames[-1] + last]
        return [*frames, last]

    def _whole(self, pcm: Pcm) -> list[Pcm]:
        """Held samples plus `pcm` in whole frames; holds the rest."""
        held = np.concatenate((self._held, pcm))
        count = len(held) // self._unit * self._unit
        self._held = held[count:]
        return np.split(held[:count], range(self._unit, count, self._unit)) if self._exact else [held[:count]]

    def _encoded(self, pieces: list[Pcm]) -> list[Encoded]:
        return [self._headed(frame) for frame in map(self._body.encode, pieces) if frame.data]

    def _headed(self, body: Encoded) -> Encoded:
        head, self._head = self._head, b""
        return Encoded(head + body.data, body.samples)


def make_encoder(encoding: Encoding, native: int, sample_rate: int, frame_nanoseconds: int | None = None) -> Encoder:
    """An encoder for one turn of PCM at `native` Hz.

    `frame_nanoseconds`: exact frame length. Raises `InvalidRequest` for a rate or frame length that the encoding does
    not support.
    """
    if sample_rate not in encoding.sample_rates:
        known = ", ".join(map(str, encoding.sample_rates))
        raise InvalidRequest("audio_format.sample_rate_hertz", f"{encoding.name} has {known}, not {sample_rate}")
    exact = 0 if frame_nanoseconds is None else _frame_samples(encoding, sample_rate, frame_nanoseconds)
    return Encoder(native, sample_rate, encoding.make(sample_rate), exact)


def _frame_samples(encoding: Encoding, sample_rate: int, nanoseconds: int) -> int:
    in_range(FRAME_FIELD, nanoseconds / 1e9, SHORTEST_FRAME, LONGEST_FRAME, unit=" s")
    samples, rest = divmod(nanoseconds * sample_rate, 1_000_000_000)
    if rest:
        raise InvalidRequest(FRAME_FIELD, f"{nanoseconds / 1e6:.10g} ms are no whole samples at {sample_rate} Hz")
    if encoding.packets and samples % (sample_rate // PACKETS_PER_SECOND):
        raise InvalidRequest(FRAME_FIELD, f"{encoding.name} is made of packets of 20 ms: ask for a multiple of that")
    return samples
