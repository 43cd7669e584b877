"""Engines within the server's own process."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from engine.api.errors import EngineFailed
from engine.engine import Engine
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.watchdog import watch
from qwentts_grpc.telemetry import logs
from qwentts_grpc.telemetry.metrics import ProcessMetrics, build_labels

if TYPE_CHECKING:
    from engine.checkpoint.shared_weights import SharedCodecs

log = logging.getLogger(__name__)


class EmbeddedEngines:
    """One engine a checkpoint, built here."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self.engines: list[Engine] = []  # the default one first

    async def load(self, metrics: ProcessMetrics) -> Sequence[Engine]:
        """Build the engines, warm each up.

        Raises `CheckpointError` and OSError.
        """
        shared = await asyncio.to_thread(_shared_codecs)
        for model in self._config.models:
            await self._load(model, shared, metrics)
        metrics.describe(build_labels(), [engine.card.name for engine in self.engines])
        return self.engines

    async def watch(self) -> NoReturn:
        """Wait until an engine fails; raises `EngineFailed`."""
        watches = [asyncio.create_task(watch(each, self._config.patience(each.card.device))) for each in self.engines]
        try:
            await asyncio.wait(watches, return_when=asyncio.FIRST_EXCEPTION)
            for each in watches:
                if each.done():
                    each.result()
            raise AssertionError("a watch has no other end")
        except EngineFailed as error:
            lost = next((engine.failed for engine in self.engines if engine.failed is not None), None)
            log.critical("%s", error, exc_info=lost)
            raise
        finally:
            for each in watches:
                each.cancel()

    def measure(self, metrics: ProcessMetrics) -> None:
        """Set the gauges of engines, of GPUs."""
        metrics.engine.set_states(engine.state() for engine in self.engines)
        metrics.host.measure_gpus(engine.card.device for engine in self.engines)

    async def close(self) -> None:
        """Cancel what runs; stop the loops."""
        await asyncio.gather(*(engine.close() for engine in self.engines))

    async def _load(self, model: str, shared: "SharedCodecs", metrics: ProcessMetrics) -> None:
        from engine.build import build_engine

        began, observer = time.monotonic(), metrics.engine.observer()
        log.info("loading %s", model, extra=logs.fields(model=model))
        engine = await build_engine(model, self._config.engine, observer, shared)
        observer.model = engine.card.name
        self.engines.append(engine)
        seconds, card = time.monotonic() - began, engine.card
        metrics.loaded(card.name, seconds)
        facts = logs.fields(model=card.name, kind=card.kind, device=card.device, seconds=seconds)
        log.info("loaded %s in %.1f s: %s", card.name, seconds, card.description, extra=facts)


def _shared_codecs() -> "SharedCodecs":
    """Import torch with all that needs it.

    It takes seconds; meanwhile probes are answered, and bad settings need not wait for it.
    """
    import engine.build  # noqa: F401
    from engine.checkpoint.shared_weights import SharedCodecs

    return SharedCodecs()
