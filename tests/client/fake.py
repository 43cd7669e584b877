"""A scripted server: what a client meets on the wire, without an engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc

Code = grpc.StatusCode
Requests = AsyncIterator[pb.SynthesizeRequest]
Context = Any
Script = Callable[["Fake", Requests, Context], AsyncIterator[pb.SynthesizeResponse]]

STARTED = pb.SynthesizeResponse(
    started=pb.Started(
        request_id="r1",
        voice="joe",
        seed=7,
        audio_format=pb.AudioFormat(encoding=pb.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=24_000),
    )
)
FRAME = Duration(nanos=80_000_000)
PCM = bytes(3_840)


@dataclass
class Fake:
    """`turns`: the requests of every call so far; `left`: how many callers went before the end."""

    script: Script
    address: str = ""
    turns: list[list[pb.SynthesizeRequest]] = field(default_factory=list)
    left: int = 0
    health: int = 1
    server: Any = None

    @property
    def texts(self) -> list[str]:
        """The text of every call."""
        return ["".join(request.text.text for request in turn) for turn in self.turns]


def frame(index: int = 0, last: bool = False) -> pb.SynthesizeResponse:
    pts = Duration()
    pts.FromMilliseconds(80 * index)
    return pb.SynthesizeResponse(audio=pb.AudioFrame(data=PCM, sequence=index, pts=pts, duration=FRAME, last=last))


def summary(reason: pb.FinishReason = pb.FINISH_REASON_STOP) -> pb.SynthesizeResponse:
    return pb.SynthesizeResponse(summary=pb.Summary(finish_reason=reason, seed=7, audio_samples=1_920))


async def speak(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
    """A frame for each message, a `FlushDone` for each flush, an end at the half-close or a `Cancel`."""
    yield STARTED
    count = 0
    async for request in requests:
        if request.HasField("cancel"):
            yield summary(pb.FINISH_REASON_CANCELLED)
            return
        if request.HasField("flush"):
            yield pb.SynthesizeResponse(flush_done=pb.FlushDone(mark=request.flush.mark))
        if request.HasField("text"):
            yield frame(count)
            count += 1
    yield summary()


async def endless(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
    """Audio until the caller leaves, whatever it sends."""
    yield STARTED
    for index in range(10**6):
        yield frame(index)
        await asyncio.sleep(0.01)


def refusing(times: int, code: Code, reason: str, retry: float | None = None, then: Script = speak) -> Script:
    """Refuse `times` calls before any header, then run `then`."""

    async def script(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
        if len(fake.turns) <= times:
            await refuse(context, code, reason, retry)
        async for response in then(fake, requests, context):
            yield response

    return script


async def refuse(context: Context, code: Code, reason: str, retry: float | None = None) -> None:
    """End a call as the real server does."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="qwentts")]
    if retry is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(nanos=round(retry * 1e9))))
    details.append(error_details_pb2.BadRequest(field_violations=[{"field": "voice"}]))
    details.append(error_details_pb2.RequestInfo(request_id="r9"))
    status = status_pb2.Status(code=code.value[0], message=f"refused: {reason}")
    for detail in details:
        status.details.add().Pack(detail)
    trailers = (("grpc-status-details-bin", status.SerializeToString()), ("grpc-retry-pushback-ms", "-1"))
    await context.abort(code, f"refused: {reason}", trailers)


class _Speech(tts_pb2_grpc.TTSServiceServicer):
    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    async def Synthesize(self, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
        taken: list[pb.SynthesizeRequest] = []
        self._fake.turns.append(taken)

        async def noted() -> Requests:
            async for request in requests:
                taken.append(request)
                yield request

        ended = False
        try:
            async for response in self._fake.script(self._fake, noted(), context):
                yield response
            ended = True
        finally:
            self._fake.left += not ended

    async def GetServerInfo(self, request: Any, context: Context) -> pb.GetServerInfoResponse:
        return pb.GetServerInfoResponse(server_version=self._fake.address)


class _Voices(tts_pb2_grpc.VoiceServiceServicer):
    async def ListVoices(self, request: pb.ListVoicesRequest, context: Context) -> pb.ListVoicesResponse:
        return pb.ListVoicesResponse(voices=[pb.Voice(name="joe", kind=pb.VOICE_KIND_BUILT_IN, model="m")])


@asynccontextmanager
async def serving(script: Script = speak, port: int = 0, credentials: Any = None) -> AsyncIterator[Fake]:
    """A fake that listens on 127.0.0.1."""
    fake = Fake(script)
    await start(fake, port, credentials)
    try:
        yield fake
    finally:
        await fake.server.stop(None)


async def start(fake: Fake, port: int = 0, credentials: Any = None) -> None:
    """Listen, as a server that has been started again would."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
        async def Check(self, request: Any, context: Context) -> Any:
            return health_pb2.HealthCheckResponse(status=fake.health)

    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    tts_pb2_grpc.add_TTSServiceServicer_to_server(_Speech(fake), server)
    tts_pb2_grpc.add_VoiceServiceServicer_to_server(_Voices(), server)
    health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
    where = f"127.0.0.1:{port}"
    bound = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    await server.start()
    fake.server, fake.address = server, f"127.0.0.1:{bound}"
