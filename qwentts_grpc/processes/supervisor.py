"""Supervisor of all processes of a server.

It holds the port's number, the side port and the shared files; it serves no call itself.
"""

import asyncio
import logging
import pickle
import signal
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from engine.api.errors import CheckpointError
from qwentts_grpc.admission.shared_counts import SharedCounts
from qwentts_grpc.processes import control
from qwentts_grpc.processes.child import Child
from qwentts_grpc.processes.folder import memory_folder
from qwentts_grpc.processes.merged import MergedPage
from qwentts_grpc.server.admin_http import SidePort, probe
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.exposure import check_exposure
from qwentts_grpc.server.ports import address, named, reserved
from qwentts_grpc.server.process import EXIT_FAULT, SLACK, Signals
from qwentts_grpc.server.waits import CLOSE_LIMIT

MOST_FAILURES = 3  # starts of one child in a row that never became ready
PAUSE = 0.2  # seconds before a child is started again; doubled for each failure in a row
SETTLE = 0.5  # seconds for all fronts to use an engine that is back
TELL = 1.0  # seconds for a front to hear of a voice

log = logging.getLogger(__name__)


async def supervise(
    config: ServerConfig, print_line: Callable[[str], None], log_level: str, log_format: str, tracing: bool
) -> int:
    """Run a server of several processes until a signal.

    Return its exit code.
    Raises `CheckpointError` and OSError where it cannot start.
    """
    signals = Signals(config.drain_seconds + 2 * (CLOSE_LIMIT + SLACK))
    check_exposure(config)
    with ExitStack() as stack:
        folder = stack.enter_context(memory_folder())
        with named("turns", config.host, config.port):
            port = stack.enter_context(reserved(config.host, config.port))
        config = replace(config, port=port, voice_dir=config.voice_dir or _voices(folder))
        server = Supervisor(config, folder, (log_level, log_format), tracing)
        return await server.serve(signals, print_line)


def _voices(folder: Path) -> Path:
    """A directory that ends with the server."""
    voices = folder / "voices"
    voices.mkdir(mode=0o700)
    return voices


def process_metrics(registry: CollectorRegistry) -> tuple[Counter, Gauge]:
    """Counter of restarts, gauge of children that serve, by role."""
    restarts = Counter("tts_process_restarts", "Child processes started again.", ("role",), registry=registry)
    return restarts, Gauge("tts_process_ready", "Child processes that serve.", ("role",), registry=registry)


def _ready(children: Iterable[Child]) -> int:
    return sum(child.ready for child in children)


class Supervisor:
    """One server: its children, its side port."""

    def __init__(self, config: ServerConfig, folder: Path, logging_: tuple[str, str], tracing: bool) -> None:
        self.config = config
        self._failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()
        self._stopping = False
        self._rolling = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._restarts, ready = process_metrics(self._registry)
        counts = folder / "counts"
        self._counts = SharedCounts.create(counts, config.fronts)
        sockets = tuple(str(folder / f"engine-{index}") for index in range(len(config.devices)))
        data = pickle.dumps(config)

        def start(role: str, index: int, sockets: tuple[str, ...]) -> control.Start:
            self._restarts.labels(role)
            return control.Start(role, index, data, sockets, *logging_, tracing, str(counts))

        self.engines = [
            self._child(start("engine", index, sockets[index : index + 1])) for index in range(len(sockets))
        ]
        self.fronts = [self._child(start("front", index, sockets)) for index in range(config.fronts)]
        ready.labels("engine").set_function(partial(_ready, self.engines))
        ready.labels("front").set_function(partial(_ready, self.fronts))
        self.page = MergedPage((*self.engines, *self.fronts), lambda: generate_latest(self._registry))
        self._side = SidePort(
            {
                "/metrics": self.page,
                "/livez": probe(lambda: not self._failed.done()),
                "/readyz": probe(lambda: self.ready),
            }
        )
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def children(self) -> tuple[Child, ...]:
        """Engines, then fronts."""
        return (*self.engines, *self.fronts)

    @property
    def ready(self) -> bool:
        """Whether new speeches are served."""
        return not self._stopping and any(front.ready for front in self.fronts)

    async def serve(self, signals: Signals, print_line: Callable[[str], None]) -> int:
        """Start all.

        Run until a signal or a fault; return the exit code.
        """
        loop, config = asyncio.get_running_loop(), self.config
        with named("metrics", config.metrics_host, config.metrics_port):
            side_port = await self._side.start(config.metrics_host, config.metrics_port)
        print_line(f"metrics on http://{address(config.metrics_host, side_port)}/metrics")
        loop.add_signal_handler(signal.SIGHUP, self._send, self.fronts, control.Reload())
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._begin(self.roll()))
        keeping = [self._begin(self._keep(child)) for child in self.children]
        try:
            stopped = await self._until(self._all_ready(), signals.stop)
            if stopped is None:
                print_line(f"serving on {address(config.host, config.port)}")
                stopped = await self._until(asyncio.Event().wait(), signals.stop)
            if stopped == 0:
                await self._drain(signals.force)
            return stopped or 0
        finally:
            self._stopping = True
            for child in self.children:
                child.kill()
            await asyncio.wait(keeping, timeout=CLOSE_LIMIT)
            await self._side.close()

    async def roll(self) -> None:
        """Restart the engine processes, one after the other.

        Each when its speeches have ended.
        """
        async with self._rolling:
            for engine in self.engines:
                log.info("%s drains to be started again", engine.name)
                pid = engine.pid
                engine.send(control.Drain())
                while not (engine.ready and engine.pid != pid) and not self._stopping:
                    await self._next_change()
                await asyncio.sleep(SETTLE)

    async def _until(self, work: Coroutine[Any, Any, object], stop: asyncio.Event) -> int | None:
        """Run `work`.

        The exit code if a signal or a fault came first.
        Raises the error of a child that can never start.
        """
        tasks = (asyncio.create_task(work), asyncio.create_task(stop.wait()))
        done, _ = await asyncio.wait((*tasks, self._failed), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        if self._failed in done:
            return self._failed.result()
        return 0 if tasks[1] in done else None

    async def _all_ready(self) -> None:
        while not all(child.ready for child in self.children):
            await self._next_change()
        log.info("ready: %d engine processes, %d fronts", len(self.engines), len(self.fronts))

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _keep(self, child: Child) -> None:
        """Run a child; start it again when it ends."""
        failures, served = 0, False
        while not self._stopping:
            code = await self._run(child)
            self.page.ended(child)
            if child.role == "front":
                self._counts.clear(child.index)
            if self._stopping:
                return
            served = served or child.was_ready
            if child.fault is not None and not served and not self._failed.done():
                return self._failed.set_exception(CheckpointError(child.fault.text))
            failures = 0 if child.was_ready else failures + 1
            if failures >= MOST_FAILURES and not self._failed.done():
                log.critical("%s does not start", child.name)
                return self._failed.set_result(EXIT_FAULT)
            if code:
                why = "" if child.fault is None else f" ({child.fault.text})"
                log.critical("%s has ended with code %d%s; it is started again", child.name, code, why)
            self._restarts.labels(child.role).inc()
            await asyncio.sleep(PAUSE * 2**failures if code else 0)

    async def _run(self, child: Child) -> int:
        """Exit code of one life of a child."""
        try:
            return await child.run()
        except OSError as error:
            log.critical("%s cannot be started: %s", child.name, error)
            return EXIT_FAULT

    async def _drain(self, force: asyncio.Event) -> None:
        """End the fronts when their calls have, then the engines.

        A child that was never ready has nothing to end.
        """
        self._stopping = True
        for child in self.children:
            if not child.was_ready:
                child.kill()
        forcing = self._begin(self._force(force))
        limit = self.config.drain_seconds + CLOSE_LIMIT + SLACK
        for children, seconds in ((self.fronts, limit), (self.engines, CLOSE_LIMIT)):
            self._send(children, control.Drain())
            try:
                async with asyncio.timeout(seconds):
                    while any(child.pid is not None for child in children):
                        await asyncio.sleep(0.02)
            except TimeoutError:
                log.warning("a child did not end in %g s", seconds)
        forcing.cancel()

    async def _force(self, force: asyncio.Event) -> None:
        await force.wait()
        self._send(self.children, control.Force())

    def _child(self, start: control.Start) -> Child:
        device = self.config.devices[start.index] if start.role == "engine" else "cpu"
        return Child(start, self.config.patience(device), self._changed.set, self._asked)

    def _asked(self, child: Child, number: int, message: object) -> None:
        if isinstance(message, control.VoicesChanged):
            self._begin(self._tell(child, number))

    async def _tell(self, child: Child, number: int) -> None:
        """Let the other fronts read the created voices again."""
        others = [front.ask(control.VoicesChanged(), TELL) for front in self.fronts if front is not child]
        await asyncio.gather(*others, return_exceptions=True)
        child.send(control.Done(), number)

    def _send(self, children: Iterable[Child], message: object) -> None:
        for child in children:
            child.send(message)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
