"""A real server on a tiny random checkpoint, behind a real socket."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from engine.api.config import EngineConfig
from engine.checkpoint.dummy import write_checkpoint
from engine.engine import Engine
from engine.scheduler.batch import Runner
from qwentts_client.status import FinalStatus
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.embedded import EmbeddedEngines
from qwentts_grpc.server.server import Server

from .apart import EnginesApart

Requests = Sequence[pb.SynthesizeRequest | float]  # a number is a pause in seconds


@dataclass(frozen=True)
class Running:
    """A server and a channel to it."""

    server: Server
    port: int
    side_port: int
    channel: grpc.aio.Channel

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def stub(self) -> Any:
        return tts_pb2_grpc.TTSServiceStub(self.channel)

    @property
    def voices(self) -> Any:
        return tts_pb2_grpc.VoiceServiceStub(self.channel)

    def sample(self, metric: str, **labels: str) -> float:
        """The value of a metric's sample."""
        value = self.server.metrics.registry.get_sample_value(metric, labels)
        assert value is not None, f"no sample {metric}{labels}"
        return value

    @property
    def engines(self) -> list[Engine]:
        """The server's engines, in this process."""
        assert isinstance(self.server.source, EmbeddedEngines | EnginesApart)
        return self.server.source.engines

    @property
    def engine(self) -> Engine:
        """The engine of the default checkpoint."""
        return self.engines[0]

    @property
    def eos(self) -> int:
        """The code that ends a speech."""
        return int(self.engine._prompt_builder.config.codec.eos)

    @contextmanager
    def runner(self, change: Callable[[Runner], Runner]) -> Iterator[None]:
        """Put a fake in front of the device for a while."""
        engine = self.engine
        real, engine._steps.runner = engine._steps.runner, change(engine._steps.runner)
        try:
            yield
        finally:
            engine._steps.runner = real

    async def idle(self, seconds: float = 3.0) -> None:
        """Wait until no speech, slot or block is held; fail after `seconds`."""
        engine = self.engine

        def busy() -> bool:
            state = engine.state()
            return bool(self.server.state.speeches or state.running or state.queued or state.blocks_used)

        until = time.monotonic() + seconds
        while busy():
            assert time.monotonic() < until, engine.state()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    checkpoint: Path,
    voice_dir: Path | str | None = None,
    more: Sequence[Path] = (),
    config: dict[str, Any] | None = None,
    apart: bool = False,
    **settings: Any,
) -> AsyncIterator[Running]:
    """A loaded server in this process; `more` are further checkpoints, `apart` puts a socket before the engines.

    `config` has fields of `ServerConfig`, `settings` those of `EngineConfig`.
    """
    chosen = ServerConfig(
        str(checkpoint),
        port=0,
        metrics_port=0,
        voice_dir=voice_dir,
        more_models=tuple(map(str, more)),
        engine=EngineConfig(**settings),
        **(config or {}),
    )
    server = Server(chosen, source=EnginesApart(chosen) if apart else None)
    port, side_port = await server.start()
    try:
        await server.load()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(server, port, side_port, channel)
    finally:
        await server.close()
        del server
        gc.collect()  # half a gigabyte of a model lies in cycles


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-custom", "1.7B-CustomVoice", seed=3)


@pytest.fixture(scope="session")
def base_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("created") / "tiny-base", "0.6B-Base", seed=5)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_server(checkpoint: Path) -> AsyncIterator[Running]:
    async with serving(checkpoint, max_speeches=4, max_queue=8, max_text_characters=2_000) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def tts(session_server: Running) -> AsyncIterator[Running]:
    """The shared server; afterwards nothing of the test may be left in it."""
    yield session_server
    await session_server.idle()


def config(
    max_audio: float = 0.8, text_mode: pb.TextMode = pb.TEXT_MODE_INCREMENTAL, **fields: Any
) -> pb.SynthesizeRequest:
    """A turn's first message: a short turn, since a random model seldom ends one, whatever the pace of its text."""
    made = pb.SynthesisConfig(**{"voice": "ryan", **fields})
    made.delivery.text_mode = made.delivery.text_mode or text_mode
    made.sampling.seed = made.sampling.seed or 1
    if not made.sampling.HasField("max_audio"):
        made.sampling.max_audio.FromNanoseconds(round(max_audio * 1e9))
    return pb.SynthesizeRequest(config=made)


def text(words: str) -> pb.SynthesizeRequest:
    return pb.SynthesizeRequest(text=pb.TextChunk(text=words))


def flush(mark: str) -> pb.SynthesizeRequest:
    return pb.SynthesizeRequest(flush=pb.Flush(mark=mark))


def cancel() -> pb.SynthesizeRequest:
    return pb.SynthesizeRequest(cancel=pb.Cancel(reason="enough"))


async def send(requests: Requests) -> AsyncIterator[pb.SynthesizeRequest]:
    for request in requests:
        if isinstance(request, float):
            await asyncio.sleep(request)
        else:
            yield request


async def turn(running: Running, *requests: pb.SynthesizeRequest | float) -> list[pb.SynthesizeResponse]:
    """All responses of one turn."""
    return [response async for response in running.stub.Synthesize(send(requests), timeout=60)]


def kinds(responses: Sequence[pb.SynthesizeResponse]) -> list[str]:
    return [str(response.WhichOneof("payload")) for response in responses]


def pcm(responses: Sequence[pb.SynthesizeResponse]) -> bytes:
    return b"".join(response.audio.data for response in responses)


@dataclass(frozen=True)
class Failure:
    """A call's status, decoded."""

    code: grpc.StatusCode
    reason: str
    message: str
    fields: list[str]
    retry_milliseconds: int | None
    trailers: dict[str, str | bytes]


async def failure(call: Any) -> Failure:
    """The failure that awaiting or iterating over `call` ends in."""
    status = FinalStatus(call) if isinstance(call, grpc.aio.Call) else None
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    return decoded(await status.of(raised.value) if status else raised.value)


def decoded(error: grpc.aio.AioRpcError) -> Failure:
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(bytes(trailers.get("grpc-status-details-bin", b"")))
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    waits = [detail for detail in status.details if detail.Unpack(retry)]
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    fields = [violation.field for violation in bad.field_violations]
    wait = retry.retry_delay.ToMilliseconds() if waits else None
    return Failure(error.code(), info.reason, error.details() or "", fields, wait, trailers)
