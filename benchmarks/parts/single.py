"""One speech at a time: first audio, real-time factor."""

import time
from dataclasses import dataclass
from statistics import median

import grpc

from benchmarks.load.call import speak, text_request
from engine.api.events import AudioChunk
from engine.api.request import Delivery, Sampling, SpeechRequest
from engine.engine import Engine
from qwentts_client.v1 import tts_pb2_grpc

TEXT = "The path climbs gently through the pines before it opens onto the ridge, and there the sea lies below."
FRAMES = 125  # 10 s of audio
AT_ONCE = 86_400.0  # seconds ahead of playback: no pacing


@dataclass(frozen=True, slots=True)
class Single:
    """Medians of one stream.

    `first_audio` in milliseconds, for a first chunk of one frame; `rtf`: time taken over length.
    """

    first_audio: float
    rtf: float


async def in_process(engine: Engine, repeats: int) -> Single:
    """Through the engine alone."""
    await _spoken(engine)
    return _middle([await _spoken(engine) for _ in range(repeats)])


async def over_grpc(server: str, repeats: int) -> Single:
    """Through a server, on a warm channel."""
    async with grpc.aio.insecure_channel(server) as channel:
        await _called(channel)
        return _middle([await _called(channel) for _ in range(repeats)])


async def _spoken(engine: Engine) -> Single:
    request = SpeechRequest(
        sampling=Sampling(max_frames=FRAMES, seed=0), delivery=Delivery(first_chunk_frames=1, max_lead=AT_ONCE)
    )
    start, first, frames = time.perf_counter(), 0.0, 0
    async with engine.open(request) as speech:
        speech.feed(TEXT)
        speech.end()
        async for event in speech:
            if isinstance(event, AudioChunk):
                first = first or time.perf_counter() - start
                frames += len(event.codes)
    return Single(1000 * first, (time.perf_counter() - start) / (frames * engine.card.frame_seconds))


async def _called(channel: grpc.aio.Channel) -> Single:
    stub = tts_pb2_grpc.TTSServiceStub(channel)
    call = await speak(stub, text_request(TEXT, FRAMES, voice="", first_chunk=1, seed=0, max_lead=AT_ONCE))
    if call.error or call.first_playable is None:
        raise SystemExit(f"a single call failed: {call.error}")
    return Single(1000 * call.first_playable, call.end_to_end / sum(call.durations))


def _middle(runs: list[Single]) -> Single:
    return Single(median(run.first_audio for run in runs), median(run.rtf for run in runs))
