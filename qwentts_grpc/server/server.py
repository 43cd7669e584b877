"""The server's life: ports first, then models, calls, drain."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

from engine.api.client import EngineClient
from engine.api.errors import EngineFailed
from qwentts_grpc.admission.call_limits import CONNECTIONS
from qwentts_grpc.admission.call_rate import CallRate
from qwentts_grpc.admission.counts import LOCAL, Counts
from qwentts_grpc.admission.tenants import Tenants
from qwentts_grpc.host import memory
from qwentts_grpc.host.pauses import PauseWatcher
from qwentts_grpc.recordings.recordings import Recordings
from qwentts_grpc.rpc import health, path_decoding, reset
from qwentts_grpc.rpc.tracing import NoTracing, Tracing
from qwentts_grpc.server.admin_http import MetricsPage, SidePort, probe
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.embedded import EmbeddedEngines
from qwentts_grpc.server.engines import EngineSource
from qwentts_grpc.server.exposure import check_exposure
from qwentts_grpc.server.grpc_server import SERVICES, make_grpc_server
from qwentts_grpc.server.ports import address, check_free, named
from qwentts_grpc.server.reloaded import ReloadedFiles
from qwentts_grpc.server.waits import CLOSE_TIMEOUT, within
from qwentts_grpc.service.audit import AuditLog
from qwentts_grpc.service.lifecycle import ServerState
from qwentts_grpc.telemetry import logs
from qwentts_grpc.telemetry.metrics import Metrics
from qwentts_grpc.voices.catalog import VoiceCatalog
from qwentts_grpc.voices.models import ModelRegistry
from qwentts_grpc.voices.storage_by_url import open_storage
from qwentts_grpc.voices.store import VoiceStore
from qwentts_grpc.wire.limits import RecordingLimits

PREWARM_SECONDS = 20.0  # seconds to prewarm created voices before the server serves; on a GPU that is enough for all
VOICES_REFRESH = 1.0  # seconds between reads of what other servers changed in the voice directory
SPARE_CALLS = 64  # of one connection, beyond slots and queue: lists, and refusals with their details

log = logging.getLogger(__name__)


class Server:
    """One gRPC port, one side port, one engine a checkpoint.

    Called in order: `start`, `load`, `watch`, `drain`, `close`. `source` has the engines, this process where it is
    None. `voices_changed` tells other processes of a created or deleted voice, `counts` are
    what tenants hold there.
    """

    def __init__(
        self,
        config: ServerConfig,
        tracing: Tracing | None = None,
        source: EngineSource | None = None,
        voices_changed: Callable[[], Awaitable[None]] | None = None,
        counts: Counts = LOCAL,
    ) -> None:
        self.config = config
        self.source = source or EmbeddedEngines(config)
        self._voices_changed = voices_changed
        self._tracing = tracing or NoTracing()
        self.state = ServerState()
        self.metrics = Metrics()
        self.engines: Sequence[EngineClient] = ()  # the default one first
        self.voices: VoiceStore | None = None
        self._closed = threading.Event()
        self.files = ReloadedFiles(config, self.metrics)
        known = self.files.tokens.tenants if self.files.tokens else frozenset
        self.tenants = Tenants(
            config.access,
            self._capacity,
            self._models,
            self._calls,
            known,
            self.metrics.calls.tenants,
            counts=counts,
        )
        self._audit = AuditLog(config.audit_log)
        self._health = health.Health(SERVICES)
        self.recordings = Recordings(RecordingLimits(), known, config.reference_silence)
        self._grpc = make_grpc_server(
            config,
            calls=self._calls,
            state=self.state,
            tenants=self.tenants,
            rate=CallRate(config.max_call_rate, counts),
            tokens=self.files.tokens,
            metrics=self.metrics,
            tracing=self._tracing,
            consent=self.files.consent,
            audit=self._audit,
            recordings=self.recordings,
            health_service=self._health,
        )
        self._housekeeping: asyncio.Task[None] | None = None
        self._pauses = PauseWatcher(self.metrics.host.paused)
        self.page = MetricsPage(self.metrics.registry, self._update_metrics)
        self._side = SidePort(
            {
                "/metrics": self.page,
                "/livez": probe(lambda: not self.state.broken),
                "/readyz": probe(lambda: self.state.serving),
            }
        )

    @property
    def _models(self) -> int:
        return len(self.config.models)

    @property
    def _capacity(self) -> int:
        """Turns that one checkpoint admits, in its slots plus queue."""
        return self.config.replicas * (self.config.engine.max_speeches + self.config.engine.max_queue)

    @property
    def _calls(self) -> int:
        """Limit of open calls to the contract's services."""
        return CONNECTIONS * (self._models * self._capacity + SPARE_CALLS)

    async def start(self) -> tuple[int, int]:
        """Open both ports, refusing speeches for now; return them.

        Raises OSError where one is taken.
        """
        check_exposure(self.config)
        with named("turns", self.config.host, self.config.port):
            check_free(self.config.host, self.config.port)
        with named("metrics", self.config.metrics_host, self.config.metrics_port):
            side_port = await self._side.start(self.config.metrics_host, self.config.metrics_port)
        return await self.listen(), side_port

    async def listen(self) -> int:
        """Open the gRPC port alone, refusing speeches for now."""
        path_decoding.install()
        reset.install()
        port = self._listen(address(self.config.host, self.config.port))
        await self._grpc.start()
        self._housekeeping = asyncio.create_task(memory.keep_small(lambda: not self.state.speeches))
        self._pauses.start()
        return port

    def _listen(self, target: str) -> int:
        if self.files.tls is None:
            return self._grpc.add_insecure_port(target)
        return self._grpc.add_secure_port(target, self.files.tls.credentials())

    async def load(self, before_ready: Callable[[], None] = lambda: None) -> None:
        """Build the engines, warm each up, then serve.

        `before_ready` is called when all is loaded. Raises `CheckpointError` and OSError.
        """
        began = time.monotonic()
        self.voices = await asyncio.to_thread(self._voice_store)
        if self.config.voice_dir:  # a thread of its own, never joined: a disk may hang
            threading.Thread(target=self.voices.follow, args=(VOICES_REFRESH, self._closed), daemon=True).start()
        self.engines = await self.source.load(self.metrics)
        models = ModelRegistry(self.engines)
        if models.can_clone:
            self.recordings.decoders.start()
        catalog = VoiceCatalog(models, self.voices, self._voices_changed)
        await catalog.prewarm(PREWARM_SECONDS)
        self.state.serve(catalog)
        before_ready()
        self.set_ready(True)
        seconds = time.monotonic() - began
        log.info("ready in %.1f s", seconds, extra=logs.fields(seconds=seconds))

    def _voice_store(self) -> VoiceStore:
        storage = open_storage(self.config.voice_dir, self.config.insecure)
        quota = self.config.access.tenant_voices
        return VoiceStore(storage, max_owned=quota, on_lookup=self.metrics.voices.looked_up)

    async def watch(self) -> EngineFailed:
        """Wait until the engines fail.

        By then no speech is open and none is admitted.
        """
        try:
            await self.source.watch()
        except EngineFailed as error:
            self.state.fail(str(error))
            self.set_ready(False)
            return error

    def set_ready(self, ready: bool) -> None:
        """Set health service, metric."""
        self.metrics.ready.set(ready)
        self._health.set(health.SERVING if ready else health.NOT_SERVING)

    async def drain(self, force: asyncio.Event) -> None:
        """Refuse new speeches; give open ones their time.

        `force` ends it early.
        """
        log.info("draining: %d open speeches", self.state.speeches)
        self.state.drain()
        self.set_ready(False)
        waits = asyncio.create_task(self._quiet()), asyncio.create_task(force.wait())
        await asyncio.wait(waits, timeout=self.config.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self.state.speeches:
            log.warning("aborting %d speeches at the end of the drain", self.state.speeches)
            self.state.abort_open()

    def _update_metrics(self) -> None:
        # Engine events are pushed; gauges are read on a scrape.
        self.source.measure(self.metrics)
        if self.voices is not None:
            self.metrics.voices.held(self.voices.cached_bytes)

    async def _quiet(self) -> None:
        await asyncio.sleep(self.config.drain_delay)
        while self.state.speeches:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close both ports, then the engines."""
        self._closed.set()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.to_thread(self._pauses.stop)
        await within(CLOSE_TIMEOUT, "the port", self._grpc.stop(0.5))
        await self._side.close()
        # A step that hangs is left to the end of the process.
        await within(CLOSE_TIMEOUT, "an engine or a decoder", self._close_engines())
        sending = threading.Thread(target=self._tracing.close, daemon=True)  # a collector may be slow to answer
        sending.start()
        await asyncio.to_thread(sending.join, CLOSE_TIMEOUT)

    async def _close_engines(self) -> None:
        await asyncio.gather(self.recordings.decoders.close(), self.source.close())
