"""The checksum of Ogg pages."""

from qwentts_grpc.audio.ogg import checksum


def by_the_bit(data: bytes) -> int:
    """The definition: polynomial division, highest bit first."""
    remainder = 0
    for byte in data:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x104C11DB7 if remainder & 0x8000_0000 else 0)
    return remainder


def test_checksum_is_the_polynomial_division() -> None:
    for data in (b"", b"\x00", b"\x01", b"OggS", bytes(range(256)) * 3):
        assert checksum(data) == by_the_bit(data)
    assert checksum(b"123456789") == 0x89A1897F
