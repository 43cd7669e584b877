"""Interface of a server to its engines.

In its process, or in others.
"""

from collections.abc import Sequence
from typing import NoReturn, Protocol

from engine.api.client import EngineClient
from qwentts_grpc.telemetry.metrics import Metrics


class EngineSource(Protocol):
    """Engines of one server, one a checkpoint.

    The default one first.
    """

    async def load(self, metrics: Metrics) -> Sequence[EngineClient]:
        """The engines, ready; raises `CheckpointError`, OSError."""

    async def watch(self) -> NoReturn:
        """Wait for the end of the server; raises `EngineFailed`."""

    def measure(self, metrics: Metrics) -> None:
        """Set gauges that are read on demand."""

    async def close(self) -> None:
        """End what is this server's own."""
