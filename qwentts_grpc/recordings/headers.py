"""Repair of wrong sizes in WAV or AIFF headers.

Streams and interrupted writers leave them. Both formats are lists of chunks: a name, a size, that many bytes, and
padding. RF64, BW64 and W64 are WAV with sizes of 64 bits.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_FORMAT_CHUNKS = (b"fmt ", b"fact", b"COMM")  # all that is needed to read the sound
_SOUND_CHUNKS = (b"data", b"SSND")
_UNKNOWN_SIZE = 0x7FFF_0000  # streaming writers put a number near 2 or 4 GiB where the size should be
_TRAILER = 0.1  # of a file: less than this behind the sound is taken for a tag
_DS64 = struct.Struct("<8xQ")  # the size of the sound, in an RF64 file


class Sized(NamedTuple):
    """A file with right sizes.

    `cut_short`: its own header states more sound than exists.
    """

    data: bytes
    cut_short: bool


class _Layout(NamedTuple):
    """Storage layout of a chunk list.

    Offset of the first chunk, struct of its names with sizes, padding of chunks.
    """

    first: int
    header: struct.Struct
    padding: int
    sizes_count_header: bool = False


_WAV = _Layout(12, struct.Struct("<4sI"), 2)
_AIFF = _Layout(12, struct.Struct(">4sI"), 2)
_W64 = _Layout(40, struct.Struct("<4s12xQ"), 8, sizes_count_header=True)  # its names are GUIDs
_LAYOUTS = {b"RIFF": _WAV, b"RF64": _WAV, b"BW64": _WAV, b"FORM": _AIFF, b"riff": _W64}


def sized(data: bytes) -> Sized:
    """`data`, or its format plus sound after wrong sizes.

    The sound then extends to the end of the file. A file of another kind, or without sound, is returned as it is.
    """
    layout = _LAYOUTS.get(data[:4])
    return _sized(data, layout) if layout else Sized(data, False)


def _sized(data: bytes, layout: _Layout) -> Sized:
    kept: list[tuple[bytes, bytes]] = []
    right = layout is not _AIFF  # which states its length twice
    for name, start, size in _chunks(data, layout):
        if name in _SOUND_CHUNKS:
            stated = start + size
            end = _end_of_sound(data, layout, stated)
            file = data if right and end == stated else _written(data, [*kept, (name, data[start:end])])
            return Sized(file, len(data) < stated < _UNKNOWN_SIZE)
        right = right and size % layout.padding == 0  # else the padding may be missing
        if name in _FORMAT_CHUNKS:
            content = data[start : start + size]
            kept.append((name, _without_length(content) if name == b"COMM" else content))
    return Sized(data, False)


def _chunks(data: bytes, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Name, start, stated size of each chunk's content."""
    at, sound = layout.first, 0
    while at + layout.header.size <= len(data):
        name, size = _header(data, layout, at)
        start = at + layout.header.size
        if name == b"ds64" and size >= _DS64.size:
            (sound,) = _DS64.unpack_from(data, start)
        yield name, start, sound if name == b"data" and sound and size == 0xFFFF_FFFF else size
        at = _after(data, layout, start + size)


def _header(data: bytes, layout: _Layout, at: int) -> tuple[bytes, int]:
    name, size = layout.header.unpack_from(data, at)
    return name, max(0, size - layout.header.size) if layout.sizes_count_header else size


def _after(data: bytes, layout: _Layout, end: int) -> int:
    """Start of the chunk behind `end`; padding may be missing."""
    padded = end + -end % layout.padding
    return end if _may_follow(data, layout, end) and not _may_follow(data, layout, padded) else padded


def _may_follow(data: bytes, layout: _Layout, at: int) -> bool:
    """Whether a chunk or the file's end is at `at`."""
    if at + layout.header.size > len(data):
        return len(data) - layout.padding < at <= len(data) + layout.padding
    name, size = _header(data, layout, at)
    return name.isascii() and name.decode().isprintable() and at + layout.header.size + size <= len(data) + 1


def _end_of_sound(data: bytes, layout: _Layout, stated: int) -> int:
    right = any(_may_follow(data, layout, at) for at in (stated, stated + -stated % layout.padding))
    return stated if right or len(data) * (1 - _TRAILER) < stated <= len(data) else len(data)


def _written(data: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A WAV file of `chunks`; AIFF for chunks of one."""
    aiff = data.startswith(b"FORM")
    header = struct.Struct(">4sI" if aiff else "<4sI")
    body = (b"".join((header.pack(name, len(content)), content, bytes(len(content) % 2))) for name, content in chunks)
    content = b"".join((data[8:12] if aiff else b"WAVE", *body))
    return header.pack(b"FORM" if aiff else b"RIFF", len(content)) + content


def _without_length(comm: bytes) -> bytes:
    """AIFF's format chunk with length 0, which leaves it open."""
    return comm[:2] + bytes(4) + comm[6:]
