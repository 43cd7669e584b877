"""Messages of the supervisor's link to a child."""

import msgspec

from engine.remote.messages import Coder


class Start(msgspec.Struct, frozen=True):
    """First message of the supervisor: what the child is.

    `config`: a pickled `ServerConfig`; `sockets` of the engine processes, an engine's own alone; `counts`: the file of
    shared counts.
    """

    role: str
    index: int
    config: bytes
    sockets: tuple[str, ...]
    log_level: str
    log_format: str
    tracing: bool
    counts: str


class Ready(msgspec.Struct, frozen=True):
    """The child serves, or serves no longer."""

    ready: bool


class Fault(msgspec.Struct, frozen=True):
    """The child cannot serve; another start would fail too."""

    text: str


class Drain(msgspec.Struct, frozen=True):
    """Refuse new speeches; end when the open ones have."""


class Force(msgspec.Struct, frozen=True):
    """End the drain."""


class Reload(msgspec.Struct, frozen=True):
    """Read tokens, certificates, denied recordings again."""


class Ping(msgspec.Struct, frozen=True):
    """A sign of life is wanted."""


class Scrape(msgspec.Struct, frozen=True):
    """The page of metrics is wanted."""


class Page(msgspec.Struct, frozen=True):
    """Metrics of one process in Prometheus's text format."""

    body: bytes


class VoicesChanged(msgspec.Struct, frozen=True):
    """Created voices have changed.

    From a front, then to the others.
    """


class Done(msgspec.Struct, frozen=True):
    """Reply without content, to `Ping` or `VoicesChanged`."""


TYPES: tuple[type, ...] = (Start, Ready, Fault, Drain, Force, Reload, Ping, Scrape, Page, VoicesChanged, Done)


def coder() -> Coder:
    """Coder of these messages."""
    return Coder(TYPES)
