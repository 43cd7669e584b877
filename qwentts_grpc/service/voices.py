"""VoiceService: which voices there are, and how callers make and delete their own."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256

from engine.api.errors import Busy, InputIdle, InvalidRequest
from engine.api.languages import language_name
from qwentts_client.v1 import tts_pb2, tts_pb2_grpc
from qwentts_grpc.admission.fair_semaphore import FairSemaphore
from qwentts_grpc.admission.tenants import Tenants
from qwentts_grpc.recordings.recordings import Recordings
from qwentts_grpc.rpc.call import Call, Context, answer
from qwentts_grpc.rpc.incoming import drain_requests
from qwentts_grpc.service.audit import AuditLog, Deed
from qwentts_grpc.service.lifecycle import ServerState
from qwentts_grpc.voices.consent import Consent
from qwentts_grpc.voices.file import LONGEST
from qwentts_grpc.voices.store import COMMON
from qwentts_grpc.wire import requests
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.limits import Limits

PAGE, LARGEST_PAGE = 50, 1_000
AT_ONCE = 8  # recordings that become voices; whole ones wait

Uploads = AsyncIterator[tts_pb2.CreateVoiceRequest]
Key = tuple[str, str]  # name, model: checkpoints may have voices of one name


class VoiceService(tts_pb2_grpc.VoiceServiceServicer):
    """The voices' half of the contract; every call goes through `gate`, and sees what is its caller's."""

    def __init__(
        self,
        gate: ServerState,
        tenants: Tenants,
        consent: Consent,
        audit: AuditLog,
        recordings: Recordings,
        limits: Limits,
    ) -> None:
        self._gate = gate
        self._tenants = tenants
        self._consent = consent
        self._audit = audit
        self._limits = limits
        self._recordings = recordings
        self._at_work = FairSemaphore(AT_ONCE)

    async def ListVoices(self, request: tts_pb2.ListVoicesRequest, context: Context) -> tts_pb2.ListVoicesResponse:
        """The voices that speak `language` (all, where it is empty), by name, a page at a time."""
        call = Call("ListVoices", context)
        return await answer(call, self._list(request, call.caller))

    async def GetVoice(self, request: tts_pb2.GetVoiceRequest, context: Context) -> tts_pb2.GetVoiceResponse:
        """One voice by its name, in any case."""
        call = Call("GetVoice", context)
        return await answer(call, self._get(request, call.caller))

    async def CreateVoice(self, request_iterator: Uploads, context: Context) -> tts_pb2.CreateVoiceResponse:
        """Make a voice of a recording that comes in pieces; the recording itself is not kept."""
        call = Call("CreateVoice", context)
        return await answer(call, self._create(request_iterator, call))

    async def DeleteVoice(self, request: tts_pb2.DeleteVoiceRequest, context: Context) -> tts_pb2.DeleteVoiceResponse:
        """Forget a created voice; turns that are speaking with it finish."""
        call = Call("DeleteVoice", context)
        return await answer(call, self._delete(request, call))

    async def _list(self, request: tts_pb2.ListVoicesRequest, caller: Caller) -> tts_pb2.ListVoicesResponse:
        return page(request, self._gate.cast().everyone(caller))

    async def _get(self, request: tts_pb2.GetVoiceRequest, caller: Caller) -> tts_pb2.GetVoiceResponse:
        return tts_pb2.GetVoiceResponse(voice=self._gate.cast().find(requests.name("name", request.name), caller))

    async def _create(self, requests: Uploads, call: Call) -> tts_pb2.CreateVoiceResponse:
        """A turn of its tenant; it takes a place among those who work once the recording is there."""
        cast = self._gate.cast()
        async with drain_requests(requests), AsyncExitStack() as stack:
            stack.enter_context(self._tenants.turn(call.caller))
            async with _in_time(self._limits.upload_timeout):
                spec = await _first_spec(requests)
                deed = await stack.enter_async_context(self._audit.entry(call, _deed(spec)))
                self._consent.check_reference("spec.consent_reference", spec.consent_reference)
                cast.check_new(checked(spec), call.caller)
                audio = await stack.enter_async_context(self._recording(requests, call.caller))
            digest = await asyncio.to_thread(lambda: sha256(audio).digest())
            deed.audio_sha256 = digest.hex()
            self._check_digest(spec, digest)
            await stack.enter_async_context(self._place(call.caller))
            voice, notices = await cast.create(spec, audio, call.caller, self._recordings)
        return tts_pb2.CreateVoiceResponse(voice=voice, notices=notices)

    def _check_digest(self, spec: tts_pb2.VoiceSpec, digest: bytes) -> None:
        """Let `spec` say which recording came; raises `InvalidRequest` and `RecordingDenied`."""
        if spec.audio_sha256 not in (b"", digest):
            raise InvalidRequest("spec.audio_sha256", "is not that of the recording that came")
        self._consent.check_recording(digest)
        spec.audio_sha256 = digest

    async def _delete(self, request: tts_pb2.DeleteVoiceRequest, call: Call) -> tts_pb2.DeleteVoiceResponse:
        async with self._audit.entry(call, Deed("delete", request.name)) as deed:
            card = await self._gate.cast().delete(requests.name("name", request.name), call.caller)
            deed.shared = card.owner == COMMON
            deed.audio_sha256, deed.consent_reference = card.audio_sha256, card.consent_reference
        return tts_pb2.DeleteVoiceResponse()

    @asynccontextmanager
    async def _recording(self, requests: Uploads, caller: Caller) -> AsyncIterator[bytes]:
        """The pieces of a recording, joined, which may lie in memory while the body runs.

        Raises `InvalidRequest` for too many bytes or for what is no piece, `TenantLimit`, and `Busy`.
        """
        pieces, size, most = list[bytes](), 0, self._limits.recording.bytes
        try:
            async for request in requests:
                piece = _piece(request)
                if size + len(piece) > most:
                    raise InvalidRequest("audio", f"has more than {most} bytes")
                self._recordings.hold(caller, len(piece))
                size += len(piece)
                pieces.append(piece)
            yield _joined(pieces)
        finally:
            self._recordings.release(caller, size)

    @asynccontextmanager
    async def _place(self, caller: Caller) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._limits.upload_timeout):
                    await stack.enter_async_context(self._at_work.place(caller.tenant))
            except TimeoutError:
                raise Busy(retry_after=self._limits.upload_timeout) from None
            yield


def _piece(request: tts_pb2.CreateVoiceRequest) -> bytes:
    if request.WhichOneof("payload") != "audio":
        raise InvalidRequest("payload", "must hold audio after the first message")
    return bytes(request.audio)


def _joined(pieces: list[bytes]) -> bytes:
    """`pieces` in one, and no longer in the list."""
    whole = b"".join(pieces)
    pieces.clear()
    return whole


def _deed(spec: tts_pb2.VoiceSpec) -> Deed:
    return Deed(
        "replace" if spec.replace else "create",
        spec.name,
        spec.shared,
        consent_reference=spec.consent_reference[: LONGEST["consent_reference"]],
    )


def checked(spec: tts_pb2.VoiceSpec) -> tts_pb2.VoiceSpec:
    """`spec`, or `InvalidRequest` for what is too long or malformed in it."""
    for field in ("transcript", "description"):
        most = LONGEST[field]
        if len(getattr(spec, field)) > most:
            raise InvalidRequest(f"spec.{field}", f"is longer than {most} characters")
    if not spec.speaker_embedding_only and not spec.transcript.strip():
        raise InvalidRequest("spec.transcript", "is needed unless speaker_embedding_only is set")
    if len(spec.audio_sha256) not in (0, sha256().digest_size):
        raise InvalidRequest("spec.audio_sha256", f"needs {sha256().digest_size} bytes")
    return spec


def page(request: tts_pb2.ListVoicesRequest, everyone: list[tts_pb2.Voice]) -> tts_pb2.ListVoicesResponse:
    """The page of `everyone` that `request` asks for, in order of name.

    A token says which voice was the last of the page before it, so voices that come or go move no others across pages.
    """
    if request.page_size < 0:
        raise InvalidRequest("page_size", f"{request.page_size} is below 0")
    after = _key_in(request.page_token)
    language = language_name(request.language)
    rest = [voice for voice in sorted(everyone, key=_key) if _key(voice) > after and _speaks(voice, language)]
    size = min(request.page_size or PAGE, LARGEST_PAGE)
    token = _token(rest[size - 1]) if len(rest) > size else ""
    return tts_pb2.ListVoicesResponse(voices=rest[:size], next_page_token=token)


async def _first_spec(requests: Uploads) -> tts_pb2.VoiceSpec:
    first = await anext(requests, None)
    if first is None or first.WhichOneof("payload") != "spec":
        raise InvalidRequest("spec", "must be the first message")
    return first.spec


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise InputIdle(f"the recording did not come within {seconds:g} s") from None


def _key(voice: tts_pb2.Voice) -> Key:
    return voice.name, voice.model


def _speaks(voice: tts_pb2.Voice, language: str) -> bool:
    return not language or language in (known.casefold() for known in voice.languages)


def _token(voice: tts_pb2.Voice) -> str:
    return base64.urlsafe_b64encode("\n".join(_key(voice)).encode()).decode()


def _key_in(token: str) -> Key:
    try:
        name, _, model = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode().partition("\n")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest("page_token", "is not one that this server gave") from error
    return name, model
