"""FLAC as a stream of 20 ms blocks.

Its header leaves length and checksum open.
"""

from qwentts_grpc.audio.encoded import Encoded
from qwentts_grpc.audio.libav import Packet, PacketEncoder
from qwentts_grpc.audio.resample import Pcm

_ONLY_BLOCK = b"\x80\x00\x00\x22"  # last metadata block, type 0 (STREAMINFO), 34 bytes


class Flac:
    """Lossless; holds back less than one block."""

    def __init__(self, rate: int) -> None:
        self._encoder = PacketEncoder("flac", rate, {})
        self.head = b"fLaC" + _ONLY_BLOCK + self._encoder.extradata

    def encode(self, pcm: Pcm) -> Encoded:
        return _join(self._encoder.encode(pcm))

    def finish(self) -> Encoded:
        """The last block, which may be short."""
        return _join(self._encoder.finish())


def _join(packets: list[Packet]) -> Encoded:
    return Encoded(b"".join(packet.data for packet in packets), sum(packet.samples for packet in packets))
