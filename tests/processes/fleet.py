"""A server of several processes, seen from outside: its ports, its processes, its page."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from prometheus_client.parser import text_string_to_metric_families

from qwentts_client.v1 import tts_pb2_grpc
from tests.service.conftest import Requests, config, pcm, send, text
from tests.service.test_cli import ENVIRONMENT, FAKES, Process, launch
from tests.service.test_lifecycle import page

TWO = ("--device", "cpu,cpu", "--fronts", "2")
PATIENCE = 40.0  # seconds that anything may take on a busy machine
LOCAL = (("grpc.use_local_subchannel_pool", 1),)

HELD = (
    "tts_streams_open",
    "tts_queue_depth_requests",
    "tts_engine_sequences_running",
    "tts_engine_sequences_parked",
    "tts_kv_blocks_used",
)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Fleet:
    """A running server of two fronts and two engine processes."""

    own: Process

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.own.process.pid)

    @property
    def side_port(self) -> int:
        return int(self.own.metrics.rpartition(":")[2].partition("/")[0])

    @property
    def fronts(self) -> list[psutil.Process]:
        """The processes that listen on the port."""
        port = int(self.own.server.rpartition(":")[2])
        return [each for each in self._children() if port in _listening(each)]

    def engine(self, index: int) -> psutil.Process:
        """The process behind a socket."""
        (found,) = [each for each in self._children() if f"engine-{index}" in _sockets(each)]
        return found

    def connections(self, front: psutil.Process) -> int:
        """Connections of callers that a front holds."""
        return sum(each.status == psutil.CONN_ESTABLISHED for each in front.net_connections("tcp"))

    async def samples(self) -> Samples:
        """All samples of the page of metrics; it parses, and none comes twice."""
        status, body = await page(self.side_port, "/metrics")
        assert status == 200
        found: Samples = {}
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in found
                found[key] = sample.value
        return found

    async def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of this name with these labels."""
        wanted = set(labels.items())
        return sum(
            value for (each, has), value in (await self.samples()).items() if each == name and wanted <= set(has)
        )

    async def idle(self) -> None:
        """Wait until nothing is held in any process."""

        async def held() -> dict[str, float]:
            samples = await self.samples()
            return {name: value for (name, _), value in samples.items() if name in HELD and value}

        await until(held, lambda what: not what)

    async def whole(self) -> None:
        """Wait until all processes are there and take turns."""
        await until(self._whole, bool)

    async def _whole(self) -> bool:
        try:
            engines = [self.engine(index) for index in range(2)]
            ready = (await page(self.side_port, "/readyz"))[0] == 200
            served = await asyncio.gather(*(_serves(self.own.server) for _ in range(4)))
            return len(self.fronts) == 2 and len(engines) == 2 and ready and all(served)
        except (ValueError, psutil.Error):
            return False

    def _children(self) -> Iterator[psutil.Process]:
        for each in self.supervisor.children():
            if each.status() != psutil.STATUS_ZOMBIE:
                yield each


def _listening(process: psutil.Process) -> set[int]:
    return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


def _sockets(process: psutil.Process) -> set[str]:
    return {Path(str(each.laddr)).name for each in process.net_connections("unix")}


async def _serves(address: str) -> bool:
    async with grpc.aio.insecure_channel(address, LOCAL) as channel:
        try:
            return bool(await speak(channel, seed=1, audio=0.16))
        except grpc.aio.AioRpcError:
            return False


async def until(look: Callable[[], Any], right: Callable[[Any], bool], patience: float = PATIENCE) -> Any:
    """Wait until what an awaitable look sees is right."""
    give_up = time.monotonic() + patience
    while not right(seen := await look()):
        assert time.monotonic() < give_up, seen
        await asyncio.sleep(0.05)
    return seen


def start(models: list[Path], log: Path, *flags: str) -> Fleet:
    more = [flag for model in models[1:] for flag in ("--model", str(model))]
    return Fleet(launch(models[0], log, *TWO, *more, *flags, command=FAKES))


def end(fleet: Fleet) -> None:
    """End what is left of a server."""
    process = fleet.own.process
    left = psutil.Process(process.pid).children() if process.poll() is None else []
    process.kill()
    process.wait()
    for each in left:
        each.kill()
    assert process.stdout is not None
    process.stdout.close()


def failed_start(arguments: tuple[str, ...], fault: str = "") -> tuple[int, str]:
    """Exit code and last line of a server that cannot start."""
    environment = {**ENVIRONMENT, "FAULT": fault}
    flags = ("serve", "--metrics-port", "0", "--port", "0", *arguments)
    done = subprocess.run([*FAKES, *flags], capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, (done.stdout + done.stderr).splitlines()[-1]


def folder_of(supervisor: int) -> Path:
    """What a server has in memory, which its supervisor keeps locked."""
    held = (Path(os.path.realpath(each)) for each in Path(f"/proc/{supervisor}/fd").iterdir())
    (found,) = [each for each in held if each.name.startswith("qwentts-server-")]
    return found


def stop(fleet: Fleet) -> None:
    fleet.own.process.send_signal(signal.SIGTERM)


def asked(seed: int, audio: float) -> Any:
    request = config(audio)
    request.config.sampling.seed = seed
    return request


async def speak(channel: grpc.aio.Channel, seed: int, audio: float = 0.8, *more: Any) -> bytes:
    """Audio of a turn; `more` follows its text."""
    requests: Requests = [asked(seed, audio), text("Word after word. "), *more]
    call = tts_pb2_grpc.TTSServiceStub(channel).Synthesize(send(requests), timeout=60)
    responses = [response async for response in call]
    assert responses[-1].HasField("summary")
    return pcm(responses)


@asynccontextmanager
async def channels(address: str, count: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Channels with a connection each, which the kernel spreads over the fronts."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(grpc.aio.insecure_channel(address, LOCAL)) for _ in range(count)]
