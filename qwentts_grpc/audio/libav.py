"""Packetised libav (FFmpeg) codecs: PCM to packets of 20 ms."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import av
from av.audio.codeccontext import AudioCodecContext

from qwentts_grpc.audio.resample import Pcm

PACKETS_PER_SECOND = 50


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; `samples` become playable with it.

    They are fewer while a decoder starts up. `end`: stream position behind its last sample.
    """

    data: bytes
    samples: int
    end: int


class PacketEncoder:
    """Mono int16 at `rate` into packets of 20 ms.

    Divided by position alone, never by the size of the inputs. `extradata` is the codec's own header. The samples of
    all packets add up to the samples fed.
    """

    def __init__(self, codec: str, rate: int, options: Mapping[str, str]) -> None:
        context = av.CodecContext.create(codec, "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout, context.format = rate, "mono", "s16"
        context.thread_count = 1
        context.options = {"frame_size": str(rate // PACKETS_PER_SECOND), **options}
        context.open()
        self.extradata = bytes(context.extradata or b"")
        self._context = context
        self._fed = 0
        self._end = 0

    def encode(self, pcm: Pcm) -> list[Packet]:
        if not len(pcm):
            return []
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts = self._context.sample_rate, self._fed
        self._fed += len(pcm)
        return self._packets(frame)

    def finish(self) -> list[Packet]:
        """The packets still inside the codec.

        The last one is shortened to the samples that were fed.
        """
        return self._packets(None) if self._fed else []

    def _packets(self, frame: av.AudioFrame | None) -> list[Packet]:
        packets = [packet for packet in self._context.encode(frame) if packet.size]
        ends = [self._end, *(max(0, (packet.pts or 0) + (packet.duration or 0)) for packet in packets)]
        self._end = ends[-1]
        spans = zip(packets, pairwise(ends), strict=True)
        return [Packet(bytes(packet), end - start, end) for packet, (start, end) in spans]
