"""The server and its life: ports first, then the models, then calls, then a drain."""

import asyncio
import gc
import logging
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from engine.api.config import EngineConfig
from engine.api.errors import EngineFailed
from engine.build import build_engine
from engine.checkpoint.shared_weights import SharedCodecs
from engine.engine import Engine
from qwentts_client.channels import LARGEST_MESSAGE
from qwentts_client.v1 import tts_pb2, tts_pb2_grpc
from qwentts_grpc import __version__
from qwentts_grpc.admission.auth import AuthInterceptor, Tokens
from qwentts_grpc.admission.call_limits import CONNECTIONS, CallLimits
from qwentts_grpc.admission.call_rate import CallRate
from qwentts_grpc.admission.refusals import Refusals
from qwentts_grpc.admission.tenants import Access, Tenants
from qwentts_grpc.host import memory, unsafe_settings
from qwentts_grpc.recordings.recordings import TRAILING_SILENCE, Recordings
from qwentts_grpc.rpc import connections, health, path_decoding, reset
from qwentts_grpc.rpc.call_metrics import CallMetricsInterceptor
from qwentts_grpc.rpc.decode_errors import DecodeErrorInterceptor
from qwentts_grpc.rpc.reflection import add_reflection
from qwentts_grpc.rpc.tls import ServerTls, TlsFiles
from qwentts_grpc.rpc.tracing import Tracing, Untraced
from qwentts_grpc.server.admin_http import MetricsPage, SidePort, probe
from qwentts_grpc.server.watchdog import watch
from qwentts_grpc.service.audit import AuditLog
from qwentts_grpc.service.inline_cloning import InlineCloning
from qwentts_grpc.service.lifecycle import ServerState
from qwentts_grpc.service.tts import TTSService
from qwentts_grpc.service.voices import VoiceService
from qwentts_grpc.telemetry import logs
from qwentts_grpc.telemetry.metrics import Metrics
from qwentts_grpc.voices.catalog import VoiceCatalog
from qwentts_grpc.voices.consent import Consent
from qwentts_grpc.voices.models import ModelRegistry
from qwentts_grpc.voices.storage import DirectoryBlobStore, MemoryBlobStore
from qwentts_grpc.voices.store import VoiceStore
from qwentts_grpc.wire.limits import Limits, RecordingLimits

SERVICES = tuple(service.full_name for service in tts_pb2.DESCRIPTOR.services_by_name.values())
WATCHDOG = 8.0  # seconds; with the watchdog's own pace liveness fails within 10 s
PREWARM_SECONDS = 20.0  # seconds that kept voices may take to get ready before the server serves; on a GPU all are
VOICES_REFRESH = 1.0  # seconds between looks at what other servers changed in the voice directory
CLOSE_TIMEOUT = 2.0  # seconds each for the calls, the step that runs and the last spans to come to their end
CLOSE_LIMIT = 4 * CLOSE_TIMEOUT  # seconds that `Server.close` takes at most, and a bit
SPARE_CALLS = 64  # of one connection, beyond slots and queue: lists, and refusals with their details

OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a share of another server's calls
    ("grpc.server_handshake_timeout_ms", 10_000),  # a connection that says nothing is closed
    ("grpc.keepalive_time_ms", 10_000),  # a caller who has vanished holds a slot for 15 s at most
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # without it a network that acknowledges and drops holds a slot for a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_500),  # callers may ping each 5 s, more or less
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.max_metadata_size", 8 * 2**10),
    ("grpc.server.max_pending_requests", 10_000),  # past a thousand gRPC turns some away at random, whoever they are
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`model`: a folder or hub id, of the default checkpoint; `more_models` are served beside it.

    Port 0 picks a free one. Times in seconds: `drain_delay` is the least time for which new calls are refused before
    the port closes, `drain_seconds` the most that open turns get to end.
    After `max_connection_age` (0: never) a connection takes no new calls, and its open ones have `max_call_age` left,
    which is the most for any turn. `max_call_rate`: calls that a tenant may begin in a second, 0 for any number.
    `tls` None serves plaintext; `reflection` lets tools ask for the contract. `watchdog_seconds` without a step end
    the server; None for `WATCHDOG` on a GPU and the engine's own limit on a CPU, whose steps may be long.
    `voice_dir` keeps created voices, and may be shared with other servers; None for as long as the process lives.
    `insecure` serves where others could do harm, with a warning in place of a refusal.
    `require_consent` takes no recording without a reference to a consent, and none that `denied_recordings` lists;
    `audit_log` gets a line for each. `reference_silence` is heard behind each."""

    model: str
    host: str = "127.0.0.1"
    port: int = 50_051
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9_464
    drain_delay: float = 0.5
    drain_seconds: float = 30.0
    max_connection_age: float = 3_600.0
    max_call_age: float = 24_000.0
    max_call_rate: float = 0.0
    tls: TlsFiles | None = None
    access: Access = field(default_factory=Access)
    reflection: bool = True
    watchdog_seconds: float | None = None
    voice_dir: Path | None = None
    insecure: bool = False
    require_consent: bool = False
    denied_recordings: Path | None = None
    audit_log: Path | None = None
    more_models: tuple[str, ...] = ()
    reference_silence: float = TRAILING_SILENCE
    engine: EngineConfig = field(default_factory=EngineConfig)


class Server:
    """One gRPC port, one side port, an engine a checkpoint. `start`, `load`, `watch`, `drain`, and `close` at last."""

    def __init__(self, config: ServerConfig, tracing: Tracing | None = None) -> None:
        self.config = config
        self._tracing = tracing or Untraced()
        self.gate = ServerState()
        self.metrics = Metrics()
        self.engines: list[Engine] = []  # the default one first
        self.voices: VoiceStore | None = None
        self._closed = threading.Event()
        self._tls = ServerTls(config.tls, config.insecure) if config.tls else None
        self._read_certificates()
        self._tokens = Tokens(config.access.token_file, config.insecure) if config.access.token_file else None
        known = self._tokens.tenants if self._tokens else frozenset
        self.tenants = Tenants(
            config.access, self._places, self._models, self._calls, known, self.metrics.calls.tenants
        )
        self._consent = Consent(config.require_consent, config.denied_recordings)
        self._audit = AuditLog(config.audit_log)
        self._health = health.Health(SERVICES)
        self.recordings = Recordings(RecordingLimits(), known, config.reference_silence)
        self._grpc = self._make_grpc()
        self._housekeeping: asyncio.Task[None] | None = None
        self._side = SidePort(
            {
                "/metrics": MetricsPage(self.metrics.registry, self._update_metrics),
                "/livez": probe(lambda: not self.gate.broken),
                "/readyz": probe(lambda: self.gate.serving),
            }
        )

    @property
    def _models(self) -> int:
        return 1 + len(self.config.more_models)

    @property
    def _places(self) -> int:
        """Turns that one engine takes, in its slots and queue."""
        return self.config.engine.max_speeches + self.config.engine.max_queue

    @property
    def _calls(self) -> int:
        """Open calls of our own services."""
        return CONNECTIONS * (self._models * self._places + SPARE_CALLS)

    def _make_grpc(self) -> grpc.aio.Server:
        engine = self.config.engine
        limits = Limits(
            text_characters=engine.max_text_characters,
            audio_seconds=engine.max_audio_seconds,
            write_timeout=engine.slow_consumer_timeout,
            call_age=self.config.max_call_age,
        )
        refusals = Refusals()
        door = AuthInterceptor(self.config.access, self._tokens, refusals, self.metrics.calls.unauthenticated)
        call_limits = CallLimits(
            self._calls, self.tenants, CallRate(self.config.max_call_rate), limits, refusals, self.metrics.calls.refused
        )
        server = grpc.aio.server(
            interceptors=[
                CallMetricsInterceptor(self.metrics.registry),
                door,
                call_limits,
                DecodeErrorInterceptor(self.metrics.calls.refused),
            ],
            options=(
                *OPTIONS,
                *connections.options(
                    self._calls // CONNECTIONS, self.config.max_connection_age, self.config.max_call_age
                ),
            ),
        )
        speaking = TTSService(
            self.gate,
            self.tenants,
            InlineCloning(self._consent, self._audit, self.recordings),
            self.metrics.calls,
            self._tracing,
            limits,
            engine.max_speeches,
        )
        voices = VoiceService(self.gate, self.tenants, self._consent, self._audit, self.recordings, limits)
        tts_pb2_grpc.add_TTSServiceServicer_to_server(speaking, server)
        tts_pb2_grpc.add_VoiceServiceServicer_to_server(voices, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self.config.reflection:
            add_reflection((*SERVICES, health.NAME), server)
        return server

    @property
    def engine(self) -> Engine | None:
        """The default checkpoint's, once it is loaded."""
        return self.engines[0] if self.engines else None

    async def start(self) -> tuple[int, int]:
        """Open both ports, refusing speeches for now; return them. Raises OSError where one is taken."""
        self._check_exposure()
        path_decoding.install()
        reset.install()
        with _named("turns", self.config.host, self.config.port):
            _check_free(self.config.host, self.config.port)
        with _named("metrics", self.config.metrics_host, self.config.metrics_port):
            side_port = await self._side.start(self.config.metrics_host, self.config.metrics_port)
        port = self._listen(address(self.config.host, self.config.port))
        await self._grpc.start()
        self._housekeeping = asyncio.create_task(memory.keep_small())
        return port, side_port

    def _check_exposure(self) -> None:
        config = self.config
        unsafe_settings.check_listening(
            config.host,
            config.metrics_host,
            tls=config.tls is not None,
            known_callers=self._tokens is not None or (config.tls is not None and config.tls.client_ca is not None),
            insecure=config.insecure,
        )

    def _listen(self, place: str) -> int:
        if self._tls is None:
            return self._grpc.add_insecure_port(place)
        return self._grpc.add_secure_port(place, self._tls.credentials())

    def reload(self) -> None:
        """Read tokens, certificates and denied recordings again; where one cannot be read, the old ones stay."""
        held = [each for each in (self._tokens, self._tls, self._consent) if each is not None]
        for each in held:
            try:
                each.reload()
            except OSError as error:
                log.error("not reloaded: %s", error)
            else:
                log.info("reloaded: %s", type(each).__name__)
                if each is self._tls:
                    self._read_certificates()

    def _read_certificates(self) -> None:
        if tls := self.config.tls:
            self.metrics.host.read_certificates(server=tls.cert, client_ca=tls.client_ca)

    async def load(self) -> None:
        """Build the engines, each of which speaks once, and serve. Raises `CheckpointError` and OSError."""
        began = time.monotonic()
        self.voices = await asyncio.to_thread(self._voice_store)
        if self.config.voice_dir:  # a thread of its own, which nothing waits for: a disk may hang
            threading.Thread(target=self.voices.follow, args=(VOICES_REFRESH, self._closed), daemon=True).start()
        shared = SharedCodecs()
        for model in (self.config.model, *self.config.more_models):
            await self._load(model, shared)
        self.metrics.describe({"version": __version__, **_torch()}, [engine.card.name for engine in self.engines])
        fleet = ModelRegistry(self.engines)
        if fleet.can_clone:
            self.recordings.decoders.start()
        cast = VoiceCatalog(fleet, self.voices)
        await cast.prewarm(PREWARM_SECONDS)
        self.gate.open_to(cast)
        self.metrics.ready.set(1)
        gc.collect()
        gc.freeze()  # what is loaded stays: to look through it once more would hold up a step for a tenth of a second
        self._health.set(health.SERVING)
        seconds = time.monotonic() - began
        log.info("ready in %.1f s", seconds, extra=logs.fields(seconds=seconds))

    async def _load(self, model: str, shared: SharedCodecs) -> None:
        began, observer = time.monotonic(), self.metrics.engine.observer()
        log.info("loading %s", model, extra=logs.fields(model=model))
        engine = await build_engine(model, self.config.engine, observer, shared)
        observer.model = engine.card.name
        self.engines.append(engine)
        seconds, card = time.monotonic() - began, engine.card
        self.metrics.loaded(card.name, seconds)
        facts = logs.fields(model=card.name, kind=card.kind, device=card.device, seconds=seconds)
        log.info("loaded %s in %.1f s: %s", card.name, seconds, card.description, extra=facts)

    def _voice_store(self) -> VoiceStore:
        path = self.config.voice_dir
        shelf = DirectoryBlobStore(path, self.config.insecure) if path else MemoryBlobStore()
        quota = self.config.access.tenant_voices
        return VoiceStore(shelf, max_owned=quota, on_lookup=self.metrics.voices.looked_up)

    async def watch(self) -> EngineFailed:
        """Wait until an engine is lost; by then no speech is open and no new one is taken."""
        try:
            await first(*(watch(engine, self._patience(engine.card.device)) for engine in self.engines))
            raise AssertionError("a watch has no other end")
        except EngineFailed as error:
            lost = next((engine.failed for engine in self.engines if engine.failed is not None), None)
            log.critical("%s", error, exc_info=lost)
            self.gate.fail(str(error))
            self._not_serving()
            return error

    def _patience(self, device: str) -> float:
        if self.config.watchdog_seconds is not None:
            return self.config.watchdog_seconds
        return self.config.engine.step_timeout if device == "cpu" else WATCHDOG

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no new speeches, and give the open ones their time; `hurry` cuts it short."""
        log.info("draining: %d open speeches", self.gate.speeches)
        self.gate.drain()
        self._not_serving()
        waits = asyncio.create_task(self._quiet()), asyncio.create_task(hurry.wait())
        await asyncio.wait(waits, timeout=self.config.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self.gate.speeches:
            log.warning("cutting %d speeches that did not end in time", self.gate.speeches)
            self.gate.cut()

    def _update_metrics(self) -> None:
        # An engine tells what happens; where it stands is read when somebody asks.
        self.metrics.engine.set_states(engine.state() for engine in self.engines)
        self.metrics.host.measure_gpus(engine.card.device for engine in self.engines)
        if self.voices is not None:
            self.metrics.voices.held(self.voices.cached_bytes)

    async def _quiet(self) -> None:
        await asyncio.sleep(self.config.drain_delay)
        while self.gate.speeches:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close both ports and the engines."""
        self._closed.set()
        gc.unfreeze()  # or a process that goes on would keep the models for ever
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await _within(CLOSE_TIMEOUT, "the port", self._grpc.stop(0.5))
        await self._side.close()
        # A step that hangs is left to the end of the process.
        await _within(CLOSE_TIMEOUT, "an engine or a decoder", self._close_engines())
        sending = threading.Thread(target=self._tracing.close, daemon=True)  # a collector may be long in answering
        sending.start()
        await asyncio.to_thread(sending.join, CLOSE_TIMEOUT)

    async def _close_engines(self) -> None:
        await asyncio.gather(self.recordings.decoders.close(), *(engine.close() for engine in self.engines))

    def _not_serving(self) -> None:
        self.metrics.ready.set(0)
        self._health.set(health.NOT_SERVING)


async def _within(seconds: float, what: str, work: Coroutine[Any, Any, object]) -> None:
    """Wait for `work`, but no longer than `seconds`, whether it lets itself be cancelled or not."""
    task = asyncio.create_task(work)
    if not (await asyncio.wait((task,), timeout=seconds))[0]:
        log.warning("%s did not close within %g s", what, seconds)
        task.cancel()


async def first(*waits: Coroutine[Any, Any, object]) -> int:
    """Which of `waits` ended first; the others are cancelled. Raises what it raised."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return next(index for index, task in enumerate(tasks) if task in done)
    finally:
        for task in tasks:
            task.cancel()


@contextmanager
def _named(what: str, host: str, port: int) -> Iterator[None]:
    """Say in errors what was to be served where."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise OSError(f"cannot serve {what} on {address(host, port)}: {why}") from error


def _check_free(host: str, port: int) -> None:
    """Raise OSError where a port is taken or a host is not here; gRPC would write lines of its own to stderr."""
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        return


def address(host: str, port: int) -> str:
    """Both as gRPC and people write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _torch() -> dict[str, str]:
    """Version labels; the build of torch says for which CUDA it was made ("2.11.0+cu128")."""
    version, _, build = metadata.version("torch").partition("+")
    return {"torch": version, "cuda": build.removeprefix("cu") if build.startswith("cu") else "none"}
