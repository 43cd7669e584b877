"""The three containers a reference may come in, told by their first bytes, and whether one is all there."""

_UNKNOWN_RIFF_SIZE = 0x7FFF_0000  # streaming writers put a number near 2 or 4 GiB where the size should be
_OGG_LAST = 0x04


def is_known(data: bytes) -> bool:
    """Whether this begins like WAV, FLAC or OGG."""
    return data[:4] in (b"fLaC", b"OggS") or (data[:4] == b"RIFF" and data[8:12] == b"WAVE")


def is_cut_short(data: bytes) -> bool:
    """Whether the container says that more bytes should follow; FLAC tells this in samples, not in bytes."""
    if data[:4] == b"RIFF":
        size = int.from_bytes(data[4:8], "little")
        return (
            len(data) + 1 < size + 8 and size < _UNKNOWN_RIFF_SIZE
        )  # + 1: a last odd byte's padding is often left out
    return data[:4] == b"OggS" and not _ends_with_last_page(data)


def _ends_with_last_page(ogg: bytes) -> bool:
    page = ogg[ogg.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & _OGG_LAST:
        return False
    segments = page[26]
    return len(page) >= 27 + segments + sum(page[27 : 27 + segments])
