"""Attacks beside the calls: on TLS, on the side port, and by files in the directory of voices."""

import asyncio
import os
import random
import secrets
import ssl
import struct
from contextlib import suppress
from pathlib import Path

from hyperframe.frame import SettingsFrame

from tests.faults.http2 import PREFACE, message

from .strangers import open_socket, opening
from .target import EVIL, Target

AT_ONCE = 64  # of the side port's connections
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"


async def side_port(target: Target) -> None:
    """Sockets that say nothing, read nothing or speak slowly, and pages without a pause."""
    scrape = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

    async def one(data: bytes, wait: float) -> None:
        while True:
            with suppress(OSError):
                async with open_socket(target.side_port) as writer:
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(wait)

    heads = (b"", scrape[:-2], f"GET /{EVIL} HTTP/1.1\r\n".encode() * 100, b"\xff" * 9_000)
    idle = [one(random.choice(heads), 2.0) for _ in range(3 * AT_ONCE)]
    await asyncio.gather(*idle, *(one(scrape, 0.01) for _ in range(16)))


async def tls_oddities(target: Target) -> None:
    """No TLS, old TLS, half a handshake, no ALPN, alerts, records of noise, and rubbish once it stands."""
    plain = PREFACE + SettingsFrame(0).serialize() + opening(1)
    raw = (
        plain,
        CLIENT_HELLO,
        CLIENT_HELLO + secrets.token_bytes(508),
        b"\x15\x03\x03\x00\x02\x01\x5a" * 1_000,
        b"\x17\x03\x03\xff\xff" + secrets.token_bytes(60_000),
        b"\x80\x2e\x01\x00\x02" + bytes(45),  # SSL 2
        b"\x16\x03\x01" + struct.pack(">H", 2**14) + bytes(2**14),
    )

    async def unwrapped() -> None:
        while True:
            with suppress(OSError):
                async with open_socket(target.port) as writer:
                    writer.write(random.choice(raw))
                    await writer.drain()
                    await asyncio.sleep(random.random())

    async def wrapped() -> None:
        while True:
            with suppress(OSError, ssl.SSLError):
                async with open_socket(target.port, ssl=_context(), server_hostname=random.choice(_NAMES)) as writer:
                    writer.write(random.choice((plain, secrets.token_bytes(5_000), plain + message(b"", 1) * 500)))
                    await writer.drain()
                    await asyncio.sleep(random.random())

    await asyncio.gather(*(unwrapped() for _ in range(20)), *(wrapped() for _ in range(20)))


_NAMES = ("127.0.0.1", "localhost", EVIL.lower(), ".".join(["a" * 60] * 4))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = random.choice((ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
    if protocols := random.choice((["h2"], ["http/1.1"], [])):
        context.set_alpn_protocols(protocols)
    return context


async def bad_files(target: Target) -> None:
    """Where voices are kept: folders, pipes, devices, links, giants and noise under the names of voices."""
    voices = Path(target.folder, "voices")

    def noise(path: Path) -> None:
        path.write_bytes(secrets.token_bytes(5_000))

    def card(path: Path) -> None:
        header = b'{"__metadata__":{"name":5,"card":"[]"}}'
        path.write_bytes(struct.pack("<Q", len(header)) + header)

    def giant(path: Path) -> None:
        path.touch()
        os.truncate(path, 2**40)

    def closed(path: Path) -> None:
        path.write_bytes(b"x")
        path.chmod(0)

    makers = (noise, card, giant, closed, Path.mkdir, os.mkfifo)
    links = ("/dev/zero", "/etc/passwd", "/proc/self/mem", ".")
    for number in range(10**6):
        maker = random.choice((*makers, *links))
        path = voices / f"odd{number % 200}.safetensors"
        with suppress(OSError):
            os.symlink(maker, path) if isinstance(maker, str) else maker(path)
        await asyncio.sleep(0.02)
