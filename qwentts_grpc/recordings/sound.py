"""The sound of a recording by libav.

First track, channels averaged, at the file's rate. Lengths in headers are not relied on, and no more is decoded than
the longest recording allowed.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from engine.api.errors import InvalidRequest
from qwentts_grpc.recordings.unusable import DURATION, unusable
from qwentts_grpc.wire.limits import RecordingLimits

Samples = npt.NDArray[np.float32]

MAX_CHANNELS = 8
RATES = range(8_000, 192_001)
MAX_LOST, MAX_LOST_SHARE = 100, 0.2  # undecodable packets; a file with more is damaged beyond use
CUT_SHORT = "is cut short or damaged: it holds less sound than it states"

_DAMAGED = "cannot be decoded: the file is damaged, or cut short before its first sound"
_PCM = (f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32", "f64") for order in ("le", "be"))
_CODECS = {
    *("pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw", *_PCM, "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "gsm_ms"),
    *("aac", "alac", "amrnb", "amrwb", "flac", "mp2", "mp2float", "mp3", "mp3float", "opus", "speex", "vorbis"),
}
_PROBED = 16 * 2**10  # bytes that libav may probe for what no header states: whether PCM in a WAV is DTS, for example
_OPTIONS = {"codec_whitelist": ",".join(sorted(_CODECS)), "probesize": str(_PROBED)}
_STATE_LENGTH = ("au", "caf", "flac", "mp4", "ogg")  # others have it estimated, or not at all
_LONGEST_BLOCK = 8_192  # samples
_HOLE = 0.05  # seconds missing at a gap; less is codec delay before the first sound
_LONGEST_BELIEVED = 3_600.0  # seconds; streaming writers put the largest possible number where the length should be


class Sound(NamedTuple):
    """Mono `samples` at the file's own rate."""

    samples: Samples
    rate: int
    remarks: tuple[str, ...] = ()

    def remarked(self, remark: str) -> "Sound":
        """A copy with one more remark."""
        return self._replace(remarks=(*self.remarks, remark))


def read_sound(data: bytes, demuxer: str, limits: RecordingLimits) -> Sound:
    """All decodable samples; raises `InvalidRequest` on "reference.audio"."""
    try:
        with av.open(io.BytesIO(data), "r", demuxer, options=_OPTIONS, metadata_errors="ignore") as container:
            stream = _audio_stream(container)
            sound = _read(container, stream, limits)
            if demuxer in _STATE_LENGTH:
                sound = _compared(sound, stream)
            if (tracks := len(container.streams.audio)) > 1:
                sound = sound.remarked(f"has {tracks} tracks of sound: the first is taken")
            return sound
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise unusable(_DAMAGED) from error


def _audio_stream(container: InputContainer) -> AudioStream:
    """The first audio track; pictures beside it are never decoded."""
    if not container.streams.audio:
        raise unusable("has no sound in it")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None or context.codec.name not in _CODECS:
        name = "an unknown one" if context is None else context.codec.name
        raise unusable(f"has sound of a codec that cannot be read ({name})")
    context.thread_count = 1
    if context.codec.name == "flac":
        context.options = {"err_detect": "crccheck+explode"}  # else a damaged frame is loud noise
    return stream


def _compared(sound: Sound, stream: AudioStream) -> Sound:
    """`sound`, remarked on where its container states another length."""
    if stream.duration is None or stream.time_base is None:
        return sound
    seconds = float(stream.duration * stream.time_base)
    stated, decoded = round(seconds * sound.rate), len(sound.samples)
    if _ends_itself(stream) and stated < decoded <= stated + _LONGEST_BLOCK:
        return sound._replace(samples=sound.samples[:stated])
    if not sound.remarks and decoded < stated - _HOLE * sound.rate and seconds < _LONGEST_BELIEVED:
        return sound.remarked(CUT_SHORT)
    return sound


def _ends_itself(stream: AudioStream) -> bool:
    """Whether libav trims the codec's shorter last block again."""
    return stream.codec_context.codec.name in ("alac", "vorbis")


def _read(container: InputContainer, stream: AudioStream, limits: RecordingLimits) -> Sound:
    """Mono samples of `stream`, as far as decodable.

    Raises `InvalidRequest` at the first block over a limit.
    """
    shape, samples, length, packets = (0, 0), np.zeros(0, np.float32), 0, _Packets()
    for frame in _frames(container, stream, packets):
        if not length:
            shape = _shape(frame)
            samples = np.empty(math.floor(limits.seconds_at(*shape) * shape[0]), np.float32)
        if shape != (frame.sample_rate, frame.layout.nb_channels):
            raise unusable("changes its rate or its channels midway")
        length, start = length + frame.samples, length
        if length > len(samples):
            raise _too_long(limits, *shape)
        samples[start:length] = _mono(frame)
    if not length or packets.lost > MAX_LOST_SHARE * packets.all:
        raise unusable(_DAMAGED)
    sound = Sound(samples[:length], shape[0])
    return sound.remarked("is damaged or cut short: what cannot be decoded is left out") if packets.lost else sound


@dataclass(slots=True)
class _Packets:
    """Counts of packets, in all, undecodable."""

    all: int = 0
    lost: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Skip an undecodable packet, while they are few."""
        self.all += 1
        try:
            yield
        except av.FFmpegError as error:
            self.lost += 1
            if self.lost > MAX_LOST:
                raise unusable(_DAMAGED) from error


def _frames(container: InputContainer, stream: AudioStream, packets: _Packets) -> Iterator[AudioFrame]:
    with packets.counted():  # a truncated container
        for packet in container.demux(stream):
            with packets.counted():
                yield from stream.codec_context.decode(_unmarked(packet) if _ends_itself(stream) else packet)


def _unmarked(packet: Any) -> Any:
    """A packet without libav's mark of padding at its end."""
    return av.Packet(bytes(packet)) if packet.size else packet


def _shape(frame: AudioFrame) -> tuple[int, int]:
    rate, channels = frame.sample_rate, frame.layout.nb_channels
    if rate not in RATES:
        raise unusable(f"has {rate} Hz, not {RATES[0]} to {RATES[-1]}")
    if channels > MAX_CHANNELS:
        raise unusable(f"has {channels} channels; the limit is {MAX_CHANNELS}")
    return rate, channels


def _too_long(limits: RecordingLimits, rate: int, channels: int) -> InvalidRequest:
    longest = limits.seconds_at(rate, channels)
    why = "" if longest == limits.max_seconds else f", the most with {channels} channels at {rate} Hz"
    return unusable(f"is longer than {longest:g} s{why}", DURATION)


def _mono(frame: AudioFrame) -> Samples:
    """The mean of all channels, (n,) in [-1, 1]."""
    array = _floats(frame.to_ndarray())
    channels = list(array) if frame.format.is_planar else list(array.reshape(-1, frame.layout.nb_channels).T)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused afterwards
        return sum(channels[1:], channels[0]) / np.float32(len(channels))


def _floats(array: npt.NDArray[Any]) -> Samples:
    """Samples of any libav format as floats in [-1, 1]."""
    kind = array.dtype
    if kind == np.uint8:
        array = array.astype(np.float32) - 128
    scale = {"u": 128.0, "i": 2.0 ** (8 * kind.itemsize - 1), "f": 1.0}[kind.kind]
    return (array / scale if scale != 1.0 else array).astype(np.float32, copy=False)
