"""TTSService: each call is one turn, from config to Summary."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import replace

from engine.api.client import EngineClient, SpeechClient
from engine.api.config import ModelCard
from engine.api.voice import Voice
from qwentts_client.v1 import tts_pb2, tts_pb2_grpc
from qwentts_grpc import __version__
from qwentts_grpc.admission.tenants import Tenants
from qwentts_grpc.audio.encoders import Encoder
from qwentts_grpc.recordings.recordings import Notices
from qwentts_grpc.rpc.call import Call, Context, Ending, aging, call_scope, unary_call
from qwentts_grpc.rpc.incoming import GRACE, Incoming, drain_requests
from qwentts_grpc.rpc.tracing import Tracing
from qwentts_grpc.service.inline_cloning import InlineCloning, undecoded
from qwentts_grpc.service.lifecycle import ServerState
from qwentts_grpc.service.request_reader import RequestReader, Requests, Text, WholeText, first_config
from qwentts_grpc.service.response_writer import Response, ResponseWriter
from qwentts_grpc.telemetry.metrics import CallMetrics
from qwentts_grpc.voices.models import has_voice
from qwentts_grpc.wire import formats, peers, requests
from qwentts_grpc.wire.caller import Caller, digest, shown
from qwentts_grpc.wire.errors import OutOfTime
from qwentts_grpc.wire.limits import Limits
from qwentts_grpc.wire.responses import ResponseBuilder, seconds

MODEL_KINDS = {
    "custom_voice": tts_pb2.MODEL_KIND_CUSTOM_VOICE,
    "voice_design": tts_pb2.MODEL_KIND_VOICE_DESIGN,
    "base": tts_pb2.MODEL_KIND_BASE,
}


class TTSService(tts_pb2_grpc.TTSServiceServicer):
    """The synthesis service; every call is admitted by `state`."""

    def __init__(
        self,
        state: ServerState,
        tenants: Tenants,
        cloning: InlineCloning,
        metrics: CallMetrics,
        tracing: Tracing,
        limits: Limits,
        max_speeches: int,
    ) -> None:
        self._state = state
        self._tenants = tenants
        self._cloning = cloning
        self._tracing = tracing
        self._metrics = metrics
        self._limits = limits
        self._max_speeches = max_speeches

    async def Synthesize(self, request_iterator: Requests, context: Context) -> None:
        """Text as it comes, audio as it is generated."""
        with closing(Incoming(request_iterator)) as requests:
            async with self._counted(Call("Synthesize", context)) as call, drain_requests(requests):
                with self._admit(call):
                    config = await first_config(requests, self._limits.config_timeout)
                    since = time.monotonic()
                    text = RequestReader(requests, self._limits, since)
                    await self._speak(call, config, since, text, tts_pb2.SynthesizeResponse)

    async def SynthesizeText(self, request: tts_pb2.SynthesizeTextRequest, context: Context) -> None:
        """Complete text; streamed audio."""
        async with self._counted(Call("SynthesizeText", context)) as call:
            with self._admit(call):
                text = WholeText(request.text, call.arrived)
                await self._speak(call, request.config, call.arrived, text, tts_pb2.SynthesizeTextResponse)

    async def GetServerInfo(
        self, request: tts_pb2.GetServerInfoRequest, context: Context
    ) -> tts_pb2.GetServerInfoResponse:
        """Checkpoints, formats, limits of this server."""
        return await unary_call(Call("GetServerInfo", context), self._info())

    async def _info(self) -> tts_pb2.GetServerInfoResponse:
        models = self._state.catalog().models
        cards = [engine.card for engine in models.engines]
        return tts_pb2.GetServerInfoResponse(
            server_version=f"{__version__} ({cards[0].description})",
            models=[_model_info(card) for card in cards],
            native_sample_rate_hertz=cards[0].sample_rate,
            codec_frame=seconds(cards[0].frame_seconds),
            audio_formats=formats.offered(),
            max_text_characters=self._limits.text_characters,
            max_audio=seconds(self._limits.audio_seconds),
            max_concurrent_streams=self._max_speeches * len(cards),
            voice_creation_enabled=models.can_clone,
            consent_required=self._cloning.consent.required,
            max_recording=seconds(self._limits.recording.max_seconds),
            max_recording_bytes=self._limits.recording.bytes,
        )

    @contextmanager
    def _admit(self, call: Call) -> Iterator[None]:
        """Admit one turn; raises `NotServing` or `TenantLimit`."""
        self._state.catalog()
        with self._tenants.turn(call.caller):
            yield

    @asynccontextmanager
    async def _counted(self, call: Call) -> AsyncIterator[Call]:
        """Run `call`; count its ending exactly once."""
        self._metrics.opened(call.method)
        try:
            with self._tracing.turn(call):
                async with call_scope(call), aging(self._limits.call_age):
                    yield call
        finally:
            assert call.ending is not None
            self._count(call.method, call.ending)

    def _count(self, method: str, ending: Ending) -> None:
        self._metrics.closed(method, ending.outcome)
        if ending.rejected is not None:
            self._metrics.rejected(ending.rejected)
        if ending.cancelled is not None:
            self._metrics.cancelled(ending.cancelled)

    async def _speak(
        self, call: Call, config: tts_pb2.SynthesisConfig, since: float, text: Text, response: Response
    ) -> None:
        """Run one turn, whose config came at `since`."""
        with self._cloning.held(call, config), ExitStack() as stack:
            catalog = self._state.catalog()
            speech, responses = await self._open(call, config, since, text, stack)
            timeout = self._limits.write_timeout
            writer = ResponseWriter(call, speech, responses, self._metrics, self._tracing, response, timeout)
            async with speech, asyncio.TaskGroup() as group:
                with self._state.track(speech):
                    text.begin(speech)
                    feeding, watching = (
                        group.create_task(task) for task in (text.feed(speech), self._state.wait_for_fault())
                    )
                    with requests.fields_of_config(), catalog.naming(call.caller):
                        first = await anext(speech)  # or the refusal of an engine in another process
                    await writer.send(first)
                    async for event in speech:
                        await writer.send(event)
                    # Just after one message of the caller its next one is farthest away (`drain_requests`).
                    await asyncio.wait((feeding,), timeout=GRACE)
                    feeding.cancel()
                    watching.cancel()

    async def _open(
        self, call: Call, config: tts_pb2.SynthesisConfig, since: float, text: Text, stack: ExitStack
    ) -> tuple[SpeechClient, ResponseBuilder]:
        """Queue the turn's speech; `stack` releases its tenant's share.

        All that can be checked is checked before a recording is decoded.

        Nothing is sent before `Started`, which waits for a slot, so a call refused until then can be retried.
        """
        with requests.fields_of_config():
            self._check_time(call, self._limits.shortest_deadline)
            async with self._cloning.entry(call, config) as entry:
                engine, parsed, encoder = await self._prepare(call, config)
                await text.open(await_burst=parsed.request.delivery.text_mode is None and engine.card.kind != "base")
                self._check_time(call, self._limits.shortest_deadline + await engine.queue_wait(parsed.request.tenant))
                stack.enter_context(self._tenants.speech(call.caller, engine.card.name))
                request, notices = parsed.request, Notices()
                if entry is not None:
                    await engine.check(request)
                    reference, notices = await self._cloning.decode(call, config.reference, entry)
                    request = replace(request, reference=reference)
                with self._state.catalog().naming(call.caller):
                    speech = engine.open(request, since)
        started = _started(config, speech, engine.card)
        call.facts |= {"model": engine.card.name, "voice": _logged_voice(started.voice, engine), "seed": speech.seed}
        return speech, ResponseBuilder(started, encoder, engine.card.frame_seconds, parsed.without_effect, notices)

    def _check_time(self, call: Call, needed: float) -> None:
        """Raise `OutOfTime` if the deadline is within `needed` seconds."""
        if call.out_of_time(needed):
            raise OutOfTime(needed)

    async def _prepare(
        self, call: Call, config: tts_pb2.SynthesisConfig
    ) -> tuple[EngineClient, requests.ParsedRequest, Encoder]:
        """Check what needs no step of an engine, encoder included."""
        call.identify(requests.request_id(config) or call.request_id)
        frame = requests.frame_nanoseconds(config.delivery)
        engine, created = await self._speaker(config, call.caller)
        native = engine.card.sample_rate
        encoder = formats.encoder(formats.effective(config.audio_format, native), native, frame)
        server = requests.ServerDefaults(engine.card, engine.defaults, self._limits)
        share = call.caller.tenant or peers.host(call.caller.peer)  # hosts stand in for tenants where there are none
        return (
            engine,
            requests.parse_config(config, call.request_id, server, undecoded(config), created, share),
            encoder,
        )

    async def _speaker(self, config: tts_pb2.SynthesisConfig, caller: Caller) -> tuple[EngineClient, Voice | None]:
        """The turn's engine, with its created voice if any."""
        catalog = self._state.catalog()
        origin = catalog.origin_model(config.voice, caller)
        return catalog.models.route(config, origin), await catalog.load(config.voice, caller.tenant) if origin else None


def _model_info(card: ModelCard) -> tts_pb2.ModelInfo:
    return tts_pb2.ModelInfo(
        name=card.name,
        kind=MODEL_KINDS[card.kind],
        languages=card.languages,
        instructions_supported=card.instructions,
    )


def _logged_voice(name: str, engine: EngineClient) -> str | None:
    """A built-in voice's name; a digest of any other.

    The name of a created voice is text of a caller, which logs never hold.
    """
    if not name or has_voice(engine, name):
        return name.casefold() or None
    return shown(digest(name.encode()))


def _started(config: tts_pb2.SynthesisConfig, speech: SpeechClient, card: ModelCard) -> tts_pb2.Started:
    """`Started` with seed, voice, format filled in."""
    chosen = card.voices[0] if card.kind == "custom_voice" else ""
    return tts_pb2.Started(
        request_id=speech.request_id,
        model=card.name,
        voice=config.voice or chosen,
        audio_format=formats.effective(config.audio_format, card.sample_rate),
        seed=speech.seed,
    )
