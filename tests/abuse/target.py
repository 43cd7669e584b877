"""What attackers and witness know of a server under abuse, and the words that no log and no metric may repeat."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import grpc

WITNESS, HOSTILE, NAMELESS = (f"{name}-0123456789abcdef" for name in ("witness", "hostile", "nameless"))  # tokens
TOKENS = f"{WITNESS} acme\n{HOSTILE} globex\n{NAMELESS}\n"
EVIL = "EVIL"  # in whatever an attacker may word
KEPT = "kept"  # the witness's voice
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


@dataclass(frozen=True, slots=True)
class Target:
    """Ports of 127.0.0.1; `folder` has recordings, and the directory of voices; `ca` is empty without TLS."""

    port: int
    side_port: int
    folder: str
    ca: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        """As `text` made it."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        address = f"127.0.0.1:{self.port}"
        if not self.ca:
            return grpc.aio.insecure_channel(address, OPTIONS)
        with open(self.ca, "rb") as file:
            return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(file.read()), OPTIONS)


def bearer(token: str, **more: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a call."""
    return (("authorization", f"Bearer {token}"), *more.items())


def seconds_of(duration: Any, seconds: float) -> None:
    """Set a Duration."""
    duration.FromNanoseconds(round(1e9 * seconds))
