"""The libav demuxer of a recording, by its first bytes.

libav's own probing never runs on untrusted files.
"""

TAKEN = "WAV, FLAC, Ogg, MP3, AAC, M4A, MP4, WebM, Matroska, AIFF, CAF, AU, W64 or AMR"

_MAGIC = {
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"caff": "caf",
    b".snd": "au",
    b"riff": "w64",
    b"#!AMR": "amr",
    b"\x1a\x45\xdf\xa3": "matroska",
}
_RIFF, _AIFF = (b"RIFF", b"RF64", b"BW64"), (b"AIFF", b"AIFC")
_MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_ID3_HEADER, _ID3_HAS_FOOTER = 10, 0x10


def demuxer(data: bytes) -> str:
    """Name of the demuxer; empty for an unknown format."""
    if data[:4] in _RIFF and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"FORM" and data[8:12] in _AIFF:
        return "aiff"
    if data[4:8] in _MP4_ATOMS:
        return "mp4"
    known = (name for magic, name in _MAGIC.items() if data.startswith(magic))
    return next(known, "") or _of_bare_frames(data)


def without_tags(data: bytes) -> bytes:
    """`data` without leading ID3 tags, padding included.

    Some writers put them in front of any container.
    """
    while data[:3] == b"ID3" and len(data) > _ID3_HEADER:
        size = sum(septet << shift for septet, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
        data = data[size + _ID3_HEADER * (2 if data[5] & _ID3_HAS_FOOTER else 1) :]
        data = data if demuxer(data) else data.lstrip(b"\0")
    return data


def _of_bare_frames(data: bytes) -> str:
    """Demuxer of header-less frames, MPEG audio or ADTS.

    Each frame begins with eleven ones.
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return ""
    if data[1] & 0xF6 == 0xF0:
        return "aac"
    reserved = data[1] & 0x18 == 0x08 or data[1] & 0x06 == 0 or data[2] & 0xF0 == 0xF0 or data[2] & 0x0C == 0x0C
    return "" if reserved else "mp3"
