"""Writes a turn's responses; records metrics, trailers, one log line."""

import time

import grpc

from engine.api.client import SpeechClient
from engine.api.events import AudioChunk, Event, Finished, FinishReason, Started
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.rpc.call import Call, Ending
from qwentts_grpc.rpc.tracing import Tracing
from qwentts_grpc.rpc.write import write
from qwentts_grpc.telemetry.metrics import CallMetrics, Finish
from qwentts_grpc.wire.responses import FIELDS, Payload, ResponseBuilder

Response = type[tts_pb2.SynthesizeResponse] | type[tts_pb2.SynthesizeTextResponse]

SLOWEST = 0.25  # of the audio's own speed: a caller that reads more slowly for long is aborted, whatever its pauses

_ENDINGS = {
    FinishReason.STOP: Ending("stop"),
    FinishReason.LENGTH: Ending("length"),
    FinishReason.GUARD: Ending("guard"),
    FinishReason.CANCELLED: Ending("cancelled_soft", cancelled="message"),
}


class ResponseWriter:
    """Writes responses of type `response` for each event.

    `write_timeout`: seconds that the caller may fall behind, over one message or many.
    """

    def __init__(
        self,
        call: Call,
        speech: SpeechClient,
        responses: ResponseBuilder,
        metrics: CallMetrics,
        tracing: Tracing,
        response: Response,
        write_timeout: float,
    ) -> None:
        self._call = call
        self._speech = speech
        self._responses = responses
        self._metrics = metrics
        self._tracing = tracing
        self._write_timeout = write_timeout
        self._response = response
        self._first_audio: float | None = None
        self._behind = 0.0  # seconds behind a caller that reads at `SLOWEST`

    async def send(self, event: Event) -> None:
        """Send the responses for one event.

        `Finished` ends the call.
        """
        if isinstance(event, Started):
            self._tracing.event("admitted", queue_wait=event.queue_wait)
        before = self._responses.seconds
        try:
            await self._send_all(event)
        finally:  # messages in flight when a caller leaves may have arrived
            self._count(self._responses.seconds - before)
        if isinstance(event, Finished):
            self._finish(event)

    async def _send_all(self, event: Event) -> None:
        messages = self._responses.messages(event)
        if isinstance(event, AudioChunk) and event.pcm.size and (message := next(messages, None)) is not None:
            self._record_audio(event)
            await self._send(message)
        for message in messages:
            await self._send(message)

    async def _send(self, message: Payload) -> None:
        response = self._response()
        getattr(response, FIELDS[type(message)]).CopyFrom(message)
        self._call.facts["audio_seconds"] = self._responses.seconds
        handed = time.monotonic()
        await write(self._call.context, response, max(0.0, self._write_timeout - self._behind))
        taken = time.monotonic() - handed
        self._metrics.written(taken)
        audio = message.duration.ToNanoseconds() / 1e9 if isinstance(message, tts_pb2.AudioFrame) else 0.0
        self._behind = max(0.0, self._behind + taken - audio / SLOWEST)

    def _record_audio(self, chunk: AudioChunk) -> None:
        first, now = self._first_audio is None, time.monotonic()
        self._metrics.chunk(now - chunk.sampled_at, first)
        if first:
            self._first_audio = now - self._call.arrived
            share = now - self._speech.text_came
            self._call.facts |= {"first_audio_seconds": self._first_audio, "server_first_audio_seconds": share}
            self._metrics.first_audio(self._call.method, self._responses.model, self._first_audio, share)
            self._tracing.event("first audio", after=self._first_audio, server=share)

    def _count(self, seconds: float) -> None:
        self._metrics.sent(self._responses.model, seconds)
        self._metrics.tenants.sent(self._call.caller, seconds)

    def _finish(self, event: Finished) -> None:
        capped = event.reason is FinishReason.LENGTH and not self._speech.limited
        self._call.ending = Ending("cap") if capped else _ENDINGS[event.reason]
        audio = self._responses.seconds
        self._tracing.event("finish", reason=event.reason.value, audio_seconds=audio, frames=event.frames)
        self._metrics.finished(Finish(self._responses.model, audio, event.work, event.text_characters))
        self._call.context.set_trailing_metadata(
            (("audio-samples", str(self._responses.samples)), ("finish-reason", event.reason.value))
        )
        self._log(event)

    def _log(self, event: Finished) -> None:
        facts = self._call.facts
        facts |= {"total_seconds": event.total_time, "queue_seconds": event.queue_wait, "work_seconds": event.work}
        facts |= {"text_characters": event.text_characters, "underruns": event.underruns}
        facts |= {f"{cause}_underruns": count for cause, count in event.lateness.underruns.items()}
        self._call.log_end(
            grpc.StatusCode.OK,
            "%s: %.2f s of audio in %.2f s, first after %.3f s (the server's share %.3f s), underruns %d",
            event.reason.value,
            self._responses.seconds,
            event.total_time,
            self._first_audio or 0.0,
            facts.get("server_first_audio_seconds", 0.0),
            event.underruns,
        )
