"""Encoding by libav (FFmpeg), tempo by its filters: PyAV."""

from fractions import Fraction
from typing import Any, Protocol, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.filter import Graph

QUICK = {"flush_packets": "1", "write_xing": "0", "id3v2_version": "0", "page_duration": "20000"}
PACKETS_A_SECOND = 50  # of FLAC, whose own frames would be late
STRETCHED = (0.5, 2.0)  # range in which one atempo filter joins waves, outside it drops samples


class Stage(Protocol):
    """A step of mono PCM's way, 16 bits, in bytes."""

    def open(self) -> None: ...

    def process(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Encoder:
    """PCM to a stream of one codec in its container."""

    def __init__(self, muxer: str, codec: str, rate: int, bit_rate: int) -> None:
        """`bit_rate` in bits a second; 0 for the codec's own."""
        self._sink = _Sink()
        known = {name: value for name, value in QUICK.items() if name in _MUXER_OPTIONS[muxer]}
        self._container = av.open(self._sink, "w", format=muxer, container_options=known)
        self._stream = cast(AudioStream, self._container.add_stream(codec, rate=rate, layout="mono"))
        if bit_rate:
            self._stream.bit_rate = bit_rate
        if codec == "flac":
            self._stream.options = {"frame_size": str(rate // PACKETS_A_SECOND)}
        self._resampler = av.AudioResampler(self._stream.format, "mono", rate)
        self._frames = _Frames(rate)

    def open(self) -> None:
        """Initialise the codec, which takes longer than to encode the first audio."""
        self._container.start_encoding()

    def process(self, data: bytes) -> bytes:
        """Bytes of the stream that are complete with `data`."""
        for frame in self._resampler.resample(self._frames.next(data)) if data else ():
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        """The rest of the stream."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


class Filters:
    """PCM at another tempo of the same pitch, or volume."""

    def __init__(self, rate: int, speed: float, volume: float) -> None:
        """`speed`: 2.0 takes half the time. `volume`: a factor, clipped."""
        self._graph = Graph()
        self._frames = _Frames(rate)
        nodes = [self._graph.add_abuffer(sample_rate=rate, format="s16", layout="mono", time_base=Fraction(1, rate))]
        if volume != 1.0:
            nodes.append(self._graph.add("volume", f"volume={volume}"))
        nodes += [self._graph.add("atempo", f"tempo={factor}") for factor in factors(speed)]
        nodes.append(self._graph.add("aformat", f"sample_fmts=s16:sample_rates={rate}:channel_layouts=mono"))
        nodes.append(self._graph.add("abuffersink"))
        self._graph.link_nodes(*nodes)

    def open(self) -> None:
        """Initialise the filters."""
        self._graph.configure()

    def process(self, data: bytes) -> bytes:
        """PCM that is complete with `data`."""
        if data:
            self._graph.push(self._frames.next(data))
        return self._pulled()

    def finish(self) -> bytes:
        """The rest of the PCM."""
        self._graph.push(None)
        return self._pulled()

    def _pulled(self) -> bytes:
        pieces = []
        while True:
            try:
                pieces.append(bytes(self._graph.pull().to_ndarray()))
            except (av.error.BlockingIOError, av.error.EOFError):
                return b"".join(pieces)


def factors(speed: float) -> list[float]:
    """Tempos of chained filters, whose product is `speed`."""
    if speed == 1.0:
        return []
    low, high = STRETCHED
    return [speed] if low <= speed <= high else [speed**0.5] * 2


class _Frames:
    """Consecutive frames of one stream."""

    def __init__(self, rate: int) -> None:
        self._rate, self._at = rate, 0

    def next(self, data: bytes) -> Any:
        frame = av.AudioFrame.from_ndarray(np.frombuffer(data, "<i2")[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._at, Fraction(1, self._rate)
        self._at += frame.samples
        return frame


class _Sink(bytearray):
    """A write-only file that cannot seek, emptied as it fills."""

    def write(self, data: bytes) -> int:
        self += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self)
        self.clear()
        return data


_MUXER_OPTIONS = {
    "mp3": ("flush_packets", "write_xing", "id3v2_version"),
    "ogg": ("flush_packets", "page_duration"),
    "adts": ("flush_packets",),
    "flac": ("flush_packets",),
}
