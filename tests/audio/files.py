"""Recordings as files of every kind: by libsndfile, by libav, and by hand where a header has to be wrong."""

import io
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

Floats = npt.NDArray[np.float32]

RATE = 24_000


def voice(seconds: float = 2.0, rate: int = RATE) -> Floats:
    """A buzz with a gliding pitch in syllables and pauses, as loud as speech: (n,)."""
    at = np.arange(round(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(130 + 30 * np.sin(2 * np.pi * 1.3 * at)) / rate
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * at) + 0.4, 0, None) ** 2
    hiss = np.random.default_rng(3).standard_normal(at.size)
    return (0.11 * buzz * syllables + 3e-4 * hiss).astype(np.float32)


def by_sndfile(samples: Floats, rate: int = RATE, form: str = "WAV", subtype: str | None = None, **more: Any) -> bytes:
    with io.BytesIO() as file:
        soundfile.write(file, samples, rate, format=form, subtype=subtype, **more)
        return file.getvalue()


def by_libav(
    samples: Floats,
    rate: int,
    form: str,
    codec: str,
    options: Mapping[str, str] | None = None,
    tracks: int = 1,
    picture: str = "",
) -> bytes:
    """`picture`: the codec of a video track in front of the sound."""
    with io.BytesIO() as file:
        with av.open(file, "w", format=form, options=dict(options or {})) as container:
            pictures = [container.add_stream(picture, rate=10)] if picture else []
            streams = [container.add_stream(codec, rate=rate, layout="mono") for _ in range(tracks)]
            for stream in pictures:
                _film(container, stream)
            for stream in streams:
                _encode(container, stream, samples, rate)
        return file.getvalue()


def _encode(container: Any, stream: Any, samples: Floats, rate: int) -> None:
    if not stream.codec_context.is_open:
        stream.codec_context.open()
    pcm = np.rint(samples * 32_767).astype(np.int16).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(pcm, "s16", "mono")
    frame.sample_rate, frame.pts = rate, 0
    cut = av.AudioResampler(stream.format, stream.layout, rate, frame_size=stream.codec_context.frame_size or 1_024)
    for piece in (*cut.resample(frame), *cut.resample(None), None):
        container.mux(stream.encode(piece))


def _film(container: Any, stream: Any) -> None:
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    for shade in range(20):
        frame = av.VideoFrame.from_ndarray(np.full((96, 64), shade, np.uint8), "yuv420p")
        frame.pts, frame.time_base = shade, Fraction(1, 10)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def wav(
    samples: Floats,
    riff: int | None = None,
    data: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    rate: int = RATE,
) -> bytes:
    """16-bit mono; `riff` and `data` are stated as sizes, `before` and `after` are further chunks."""
    pcm = np.rint(samples * 32_767).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    sound = b"data" + struct.pack("<I", len(pcm) if data is None else data) + pcm
    body = b"WAVE" + form + before + sound + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def id3(size: int = 300, zeros: int = 0, footer: bool = False) -> bytes:
    """An ID3 tag of nothing, and padding behind it."""
    stated = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x04\x00" + (b"\x10" if footer else b"\x00") + stated + bytes(size)
    return tag + (b"3DI\x04\x00\x10" + stated if footer else b"") + bytes(zeros)


def put(data: bytes, at: int, field: bytes) -> bytes:
    return data[:at] + field + data[at + len(field) :]


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}  # as Safari's MediaRecorder writes

# What each kind of file sounds like may differ from the source by its codec; the two numbers are its rate and that.
Kind = tuple[Callable[[Floats], bytes], int, float]
KINDS: dict[str, Kind] = {
    "m4a": (partial(by_libav, rate=44_100, form="ipod", codec="aac"), 44_100, 0.99),
    "m4a alac": (partial(by_libav, rate=44_100, form="ipod", codec="alac"), 44_100, 0.99),
    "mp4 fragmented": (partial(by_libav, rate=48_000, form="mp4", codec="aac", options=FRAGMENTED), 48_000, 0.98),
    "mp4 opus": (partial(by_libav, rate=48_000, form="mp4", codec="libopus"), 48_000, 0.98),
    "mp4 video": (partial(by_libav, rate=48_000, form="mp4", codec="aac", picture="mpeg4"), 48_000, 0.99),
    "mov pcm": (partial(by_libav, rate=44_100, form="mov", codec="pcm_s16le"), 44_100, 0.99),
    "3gp amr": (partial(by_libav, rate=8_000, form="3gp", codec="libopencore_amrnb"), 8_000, 0.45),
    "webm": (partial(by_libav, rate=48_000, form="webm", codec="libopus"), 48_000, 0.98),
    "webm live": (partial(by_libav, rate=48_000, form="webm", codec="libopus", options={"live": "1"}), 48_000, 0.98),
    "webm video": (partial(by_libav, rate=48_000, form="webm", codec="libopus", picture="libvpx"), 48_000, 0.98),
    "mkv pcm": (partial(by_libav, rate=48_000, form="matroska", codec="pcm_f32le"), 48_000, 0.99),
    "mkv flac": (partial(by_libav, rate=48_000, form="matroska", codec="flac"), 48_000, 0.99),
    "mp3": (partial(by_libav, rate=44_100, form="mp3", codec="libmp3lame"), 44_100, 0.99),
    "mp2": (partial(by_libav, rate=44_100, form="mp2", codec="mp2"), 44_100, 0.99),
    "adts": (partial(by_libav, rate=44_100, form="adts", codec="aac"), 44_100, 0.98),
    "amr": (partial(by_libav, rate=8_000, form="amr", codec="libopencore_amrnb"), 8_000, 0.45),
    "ogg opus": (partial(by_libav, rate=48_000, form="ogg", codec="libopus"), 48_000, 0.98),
    "ogg flac": (partial(by_libav, rate=44_100, form="ogg", codec="flac"), 44_100, 0.99),
    "wav from a pipe": (partial(by_libav, rate=48_000, form="wav", codec="pcm_s16le"), 48_000, 0.99),
    "wav mp3": (partial(by_libav, rate=44_100, form="wav", codec="libmp3lame"), 44_100, 0.99),
}


def _sndfile_kind(form: str, subtype: str | None, rate: int, alike: float, **more: Any) -> Kind:
    return partial(by_sndfile, rate=rate, form=form, subtype=subtype, **more), rate, alike


for _form, _subtypes in {
    "WAV": (
        "PCM_U8",
        "PCM_16",
        "PCM_24",
        "PCM_32",
        "FLOAT",
        "DOUBLE",
        "ULAW",
        "ALAW",
        "IMA_ADPCM",
        "MS_ADPCM",
        "GSM610",
    ),
    "WAVEX": ("PCM_16", "PCM_24", "FLOAT"),
    "RF64": ("PCM_16", "PCM_24", "FLOAT"),
    "W64": ("PCM_16", "PCM_24", "FLOAT", "ULAW"),
    "AIFF": ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"),
    "CAF": ("PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAC_16", "ALAC_24"),
    "AU": ("PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
    "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
    "OGG": ("VORBIS", "OPUS"),
}.items():
    for _subtype in _subtypes:
        _low = _subtype in ("PCM_U8", "PCM_S8", "GSM610")
        KINDS[f"{_form} {_subtype}"] = _sndfile_kind(
            _form, _subtype, 8_000 if _subtype == "GSM610" else RATE, 0.9 if _low else 0.98
        )
KINDS["AIFF little-endian"] = _sndfile_kind("AIFF", "PCM_16", RATE, 0.99, endian="LITTLE")
KINDS["MP3"] = _sndfile_kind("MP3", None, RATE, 0.98)
