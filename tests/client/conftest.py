"""What several of the client's tests need."""

from collections.abc import Iterator

import pytest

from .real import RealServer, real_server


@pytest.fixture(scope="session")
def voice_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that speaks with the embedded voice: two slots, a short queue."""
    log = tmp_path_factory.mktemp("server") / "log"
    with real_server(log, "--max-speeches", "2", "--max-queue", "2") as server:
        yield server
