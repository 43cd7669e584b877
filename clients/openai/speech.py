"""`POST /v1/audio/speech` for OpenAI clients, in starlette.

PyAV makes MP3 and AAC. Run it with `uvicorn speech:app`, with QWENTTS_SERVER in the environment.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import av
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from qwentts_client import AsyncClient, TTSError

RATE = 24_000
NATIVE = {
    "pcm": ("pcm_s16le", "audio/pcm"),
    "wav": ("wav", "audio/wav"),
    "flac": ("flac", "audio/flac"),
    "opus": ("ogg_opus", "audio/ogg"),
}  # encodings of the server
MADE_HERE = {"mp3": ("mp3", "libmp3lame", "audio/mpeg"), "aac": ("adts", "aac", "audio/aac")}
THEIR_VOICES = "alloy ash ballad coral echo fable onyx nova sage shimmer verse marin cedar".split()


def _failure(status: int, message: str) -> Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


async def speech(request: Request) -> Response:
    """Speak `input`; a refusal comes before the status line."""
    body = await request.json()
    name = body.get("response_format", "mp3")
    if not isinstance(body.get("input"), str) or name not in NATIVE.keys() | MADE_HERE.keys():
        return _failure(400, "input must be a string, and response_format one of mp3, opus, aac, flac, wav, pcm")
    if body.get("speed", 1.0) != 1.0 or body.get("stream_format", "audio") != "audio":
        return _failure(400, "speed other than 1 and stream_format sse are not served")
    voice = body.get("voice", "")
    voice = voice.get("id", "") if isinstance(voice, dict) else voice
    turn = request.app.state.client.synthesize(
        body["input"],
        voice="" if voice in THEIR_VOICES else voice,
        instructions=body.get("instructions", ""),
        encoding=NATIVE.get(name, NATIVE["pcm"])[0],
        paced=False,
    )
    frames = (frame.data async for frame in turn)
    try:
        first = await anext(frames, b"")
    except TTSError as error:
        return _failure(error.http_status, str(error))
    audio = _joined(first, frames)
    chunks = audio if name in NATIVE else _encoded(audio, *MADE_HERE[name][:2])
    return StreamingResponse(chunks, media_type=(NATIVE.get(name) or MADE_HERE[name])[-1])


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


class _Pipe(bytearray):
    """A write-only, unseekable file for libav, emptied continually."""

    def write(self, data: bytes) -> int:
        self += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self)
        self.clear()
        return data


async def _encoded(frames: AsyncIterator[bytes], container: str, codec: str) -> AsyncIterator[bytes]:
    sink: Any = _Pipe()
    with av.open(sink, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=RATE, layout="mono")
        resampler, pts = av.AudioResampler(stream.format, "mono", RATE), 0
        async for data in frames:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(data, "<i2")[None], "s16", "mono")
            frame.sample_rate, frame.pts = RATE, pts
            pts += frame.samples
            for part in resampler.resample(frame):
                output.mux(stream.encode(part))
            yield sink.take()
        output.mux(stream.encode(None))
    yield sink.take()


async def voices(request: Request) -> Response:
    """Names of the server's voices."""
    return JSONResponse({"voices": [voice.name for voice in await request.app.state.client.voices()]})


async def models(request: Request) -> Response:
    """Checkpoints of the server."""
    info = await request.app.state.client.server_info()
    data = [{"id": model.name, "object": "model", "created": 0, "owned_by": "qwentts-grpc"} for model in info.models]
    return JSONResponse({"object": "list", "data": data})


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    async with AsyncClient(os.environ.get("QWENTTS_SERVER", "localhost:50051")) as app.state.client:
        yield


app = Starlette(
    lifespan=_lifespan,
    routes=[
        Route("/v1/audio/speech", speech, methods=["POST"]),
        Route("/v1/audio/voices", voices),
        Route("/v1/models", models),
    ],
)
