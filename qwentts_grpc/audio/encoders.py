"""The encodings that callers can ask for: 24 kHz PCM in, bytes of the wire out, in step with the audio."""

from collections.abc import Callable
from enum import StrEnum

from engine.errors import InvalidRequest
from qwentts_grpc.audio import opus, resample
from qwentts_grpc.audio.encoded import Body, Encoded
from qwentts_grpc.audio.flac import Flac
from qwentts_grpc.audio.resample import Pcm, Resampler
from qwentts_grpc.audio.samplewise import Samplewise, alaw, f32le, mulaw, s16le, wav_head


class Encoding(StrEnum):
    """The audio encodings of the contract; the values are the enum's names there."""

    PCM_S16LE = "PCM_S16LE"
    PCM_F32LE = "PCM_F32LE"
    MULAW = "MULAW"
    ALAW = "ALAW"
    OGG_OPUS = "OGG_OPUS"
    FLAC = "FLAC"
    WAV = "WAV"


_BODIES: dict[Encoding, Callable[[int], Body]] = {
    Encoding.PCM_S16LE: lambda rate: Samplewise(s16le),
    Encoding.PCM_F32LE: lambda rate: Samplewise(f32le),
    Encoding.MULAW: lambda rate: Samplewise(mulaw),
    Encoding.ALAW: lambda rate: Samplewise(alaw),
    Encoding.OGG_OPUS: opus.OggOpus,
    Encoding.FLAC: Flac,
    Encoding.WAV: lambda rate: Samplewise(s16le, wav_head(rate)),
}


class Encoder:
    """One turn's audio: `encode` every chunk, then `finish` once; the bytes in order are one valid stream.

    What decodes from the bytes does not depend on how the PCM was cut (Opus: the packets are the same bytes). The
    `samples` of each result count at `sample_rate`; together they are the resampler's exact output length, so a
    frame's start is the sum of the durations before it. A header travels with the first bytes of audio.
    """

    def __init__(self, sample_rate: int, body: Body) -> None:
        self.sample_rate = sample_rate
        self._resampler = Resampler(sample_rate)
        self._body = body
        self._head = body.head

    def encode(self, pcm: Pcm) -> Encoded:
        """What (n,) int16 at 24 kHz completes: `data` is empty where `samples` is 0."""
        body = self._body.encode(self._resampler.process(pcm))
        return self._headed(body) if body.data else body

    def finish(self) -> Encoded:
        """The rest, and whatever ends the stream; a turn without audio is a header alone."""
        return self._headed(self._body.encode(self._resampler.finish()) + self._body.finish())

    def _headed(self, body: Encoded) -> Encoded:
        head, self._head = self._head, b""
        return Encoded(head + body.data, body.samples)


def sample_rates(encoding: Encoding) -> tuple[int, ...]:
    """The rates in Hz that this encoding can be had at."""
    return opus.SAMPLE_RATES if encoding is Encoding.OGG_OPUS else resample.SAMPLE_RATES


def make_encoder(encoding: Encoding, sample_rate: int) -> Encoder:
    """An encoder for one turn; raises `InvalidRequest` for a rate that the encoding does not have."""
    rates = sample_rates(encoding)
    if sample_rate not in rates:
        known = ", ".join(map(str, rates))
        raise InvalidRequest("audio_format.sample_rate_hertz", f"{encoding.value} has {known}, not {sample_rate}")
    return Encoder(sample_rate, _BODIES[encoding](sample_rate))
