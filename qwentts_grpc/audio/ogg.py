"""Ogg pages (RFC 3533) of one logical stream.

Packets in, pages out, none held back.
"""

import struct
import zlib
from collections.abc import Sequence

FIRST, LAST = 0x02, 0x04
MAX_PACKETS = 42  # of Opus at its largest, 1275 bytes or 6 lacing values each, in the 255 values of a page

_SERIAL = 1
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggPages:
    """Numbers the pages of one stream."""

    def __init__(self) -> None:
        self._next = 0

    def page(self, packets: Sequence[bytes], granule: int, flags: int = 0) -> bytes:
        """One page of whole packets.

        `granule`: the codec's position at its end.
        """
        lacing = b"".join(_lacing(len(packet)) for packet in packets)
        assert len(lacing) <= 255
        fields = (b"OggS", 0, flags, granule, _SERIAL, self._next, 0, len(lacing))
        head = struct.pack("<4sBBqIIIB", *fields)
        self._next += 1
        page = head + lacing + b"".join(packets)
        return page[:22] + struct.pack("<I", checksum(page)) + page[26:]


def _lacing(size: int) -> bytes:
    full, rest = divmod(size, 255)
    return b"\xff" * full + bytes([rest])


def checksum(data: bytes) -> int:
    """CRC-32 of Ogg: polynomial 0x04C11DB7, highest bit first, from zero.

    zlib computes the same polynomial lowest bit first and between two inversions, so both are mirrored away.
    """
    mirrored = zlib.crc32(data.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)
