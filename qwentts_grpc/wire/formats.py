"""Audio formats of the wire, with their encoders."""

from collections.abc import Iterator

from engine.api.errors import InvalidRequest
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.audio.encoders import ENCODINGS, Encoder, make_encoder


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
    encoding = ENCODINGS.get(chosen.encoding)
    if encoding is None:
        raise InvalidRequest("audio_format.encoding", f"{chosen.encoding} is not a value of AudioEncoding")
    return make_encoder(encoding, native, chosen.sample_rate_hertz, frame_nanoseconds)


def offered() -> Iterator[tts_pb2.AudioFormat]:
    """Every supported format."""
    for encoding in ENCODINGS.values():
        for rate in encoding.sample_rates:
            yield tts_pb2.AudioFormat(encoding=encoding.number, sample_rate_hertz=rate)
