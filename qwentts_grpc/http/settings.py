"""Settings of the HTTP process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qwentts_client import AsyncClient

OPENAI_VOICES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
OPENAI_MODELS = ("tts-1", "gpt-")  # how names of OpenAI's models begin


@dataclass(frozen=True)
class Aliases:
    """Names of OpenAI's, beside the server's own.

    `voices`: further names, each with the server's voice that it stands for.
    """

    voices: Mapping[str, str] = field(default_factory=dict)

    def voice(self, name: str) -> str:
        """The server's voice; empty for its default one."""
        return self.voices.get(name, "" if name in OPENAI_VOICES else name)

    def model(self, name: str) -> str:
        """The server's model; empty for its default one."""
        return "" if name.startswith(OPENAI_MODELS) else name


@dataclass(frozen=True)
class Settings:
    """`client` reaches the server; callers' tokens replace its own.

    origins: of browsers, such as "https://example.com", that may call beside the page's own.
    max_calls: turns open at once. max_call_seconds: for one turn, its slow reader included.
    certificate, key: PEM files, for HTTPS.
    """

    client: AsyncClient
    host: str = "127.0.0.1"
    port: int = 8080
    aliases: Aliases = Aliases()
    origins: tuple[str, ...] = ()
    max_calls: int = 256
    max_call_seconds: float = 3_600.0
    drain_seconds: float = 30.0
    page: bool = True
    certificate: Path | None = None
    key: Path | None = None
