"""Opus in Ogg (RFC 7845) as a stream.

Packets of 20 ms, one page a call.
"""

import struct

from qwentts_grpc.audio.encoded import Encoded
from qwentts_grpc.audio.libav import Packet, PacketEncoder
from qwentts_grpc.audio.ogg import FIRST, LAST, MAX_PACKETS, OggPages
from qwentts_grpc.audio.resample import Pcm

SAMPLE_RATES = (8_000, 16_000, 24_000, 48_000)

_CLOCK = 48_000  # granule positions count at this rate whatever the input's
_VENDOR = b"qwentts"
_TAGS = b"OpusTags" + struct.pack("<I", len(_VENDOR)) + _VENDOR + struct.pack("<I", 0)
_OPTIONS = {
    "b": "48000",
    "application": "audio",
    "frame_duration": "20",
    "compression_level": "5",  # 0.2 ms for 80 ms of speech; 10 takes 0.7 ms
}


class OggOpus:
    """Opus at 24 kHz natively, without a resampler.

    Holds back less than 20 ms plus the codec's look-ahead of 6.5 ms, which decoders skip at the start (pre-skip); the
    granule of the last page cuts the padding off at the end. The decoded length equals the input's.
    """

    def __init__(self, rate: int) -> None:
        assert rate in SAMPLE_RATES
        self._encoder = PacketEncoder("libopus", rate, _OPTIONS)
        self._scale = _CLOCK // rate
        self._pages = OggPages()
        identity = self._encoder.extradata
        self._pre_skip = int.from_bytes(identity[10:12], "little")
        self.head = self._pages.page([identity], 0, FIRST) + self._pages.page([_TAGS], 0)

    def encode(self, pcm: Pcm) -> Encoded:
        return self._paged(self._encoder.encode(pcm))

    def finish(self) -> Encoded:
        """The look-ahead with the last samples, on the final page."""
        return self._paged(self._encoder.finish(), LAST)

    def _paged(self, packets: list[Packet], flags: int = 0) -> Encoded:
        groups = [packets[start : start + MAX_PACKETS] for start in range(0, len(packets), MAX_PACKETS)]
        if flags and not groups:
            return Encoded(self._pages.page([], self._pre_skip, flags), 0)
        pages = [self._page(group, flags if group is groups[-1] else 0) for group in groups]
        return Encoded(b"".join(pages), sum(packet.samples for packet in packets))

    def _page(self, packets: list[Packet], flags: int) -> bytes:
        granule = packets[-1].end * self._scale + self._pre_skip
        return self._pages.page([packet.data for packet in packets], granule, flags)
