"""Audio formats of the wire, with their encoders."""

from collections.abc import Iterator

from engine.api.errors import InvalidRequest
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.audio.encoders import Encoder, Encoding, make_encoder, sample_rates

_ENCODINGS = {
    tts_pb2.AUDIO_ENCODING_PCM_S16LE: Encoding.PCM_S16LE,
    tts_pb2.AUDIO_ENCODING_PCM_F32LE: Encoding.PCM_F32LE,
    tts_pb2.AUDIO_ENCODING_MULAW: Encoding.MULAW,
    tts_pb2.AUDIO_ENCODING_ALAW: Encoding.ALAW,
    tts_pb2.AUDIO_ENCODING_OGG_OPUS: Encoding.OGG_OPUS,
    tts_pb2.AUDIO_ENCODING_FLAC: Encoding.FLAC,
    tts_pb2.AUDIO_ENCODING_WAV: Encoding.WAV,
}


def effective(wanted: tts_pb2.AudioFormat, native: int) -> tts_pb2.AudioFormat:
    """`wanted` with defaults filled in: PCM_S16LE at the `native` rate."""
    return tts_pb2.AudioFormat(
        encoding=wanted.encoding or tts_pb2.AUDIO_ENCODING_PCM_S16LE,
        sample_rate_hertz=wanted.sample_rate_hertz or native,
    )


def encoder(chosen: tts_pb2.AudioFormat, native: int, frame_nanoseconds: int | None = None) -> Encoder:
    """Encoder of one turn of PCM at `native` Hz.

    `frame_nanoseconds`: exact frame length. Raises `InvalidRequest` for an unsupported encoding, rate or frame length.
    """
    encoding = _ENCODINGS.get(chosen.encoding)
    if encoding is None:
        raise InvalidRequest("audio_format.encoding", f"{chosen.encoding} is not a value of AudioEncoding")
    return make_encoder(encoding, native, chosen.sample_rate_hertz, frame_nanoseconds)


def offered() -> Iterator[tts_pb2.AudioFormat]:
    """Every supported format."""
    for number, encoding in _ENCODINGS.items():
        for rate in sample_rates(encoding):
            yield tts_pb2.AudioFormat(encoding=number, sample_rate_hertz=rate)
