"""VoiceService: lists voices; creates or deletes callers' own."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256

from engine.api.errors import Busy, InputIdle, InvalidRequest
from engine.api.languages import language_name
from qwentts_client.v1 import tts_pb2, tts_pb2_grpc
from qwentts_grpc.admission.fair_semaphore import FairSemaphore
from qwentts_grpc.admission.tenants import Tenants
from qwentts_grpc.recordings.recordings import Recordings
from qwentts_grpc.rpc.call import Call, Context, unary_call
from qwentts_grpc.rpc.incoming import drain_requests
from qwentts_grpc.service.audit import AuditEntry, AuditLog
from qwentts_grpc.service.lifecycle import ServerState
from qwentts_grpc.voices.consent import Consent
from qwentts_grpc.voices.file import LONGEST
from qwentts_grpc.voices.index import COMMON
from qwentts_grpc.wire import requests
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.limits import Limits

PAGE, LARGEST_PAGE = 50, 1_000
AT_ONCE = 8  # recordings being cloned; others wait, received in full

Uploads = AsyncIterator[tts_pb2.CreateVoiceRequest]
Key = tuple[str, str]  # name, model: checkpoints may have voices of one name


class VoiceService(tts_pb2_grpc.VoiceServiceServicer):
    """The voice service; every call is admitted by `state`.

    A caller has access to voices of its own tenant alone, beside shared and built-in ones.
    """

    def __init__(
        self,
        state: ServerState,
        tenants: Tenants,
        consent: Consent,
        audit: AuditLog,
        recordings: Recordings,
        limits: Limits,
    ) -> None:
        self._state = state
        self._tenants = tenants
        self._consent = consent
        self._audit = audit
        self._limits = limits
        self._recordings = recordings
        self._clonings = FairSemaphore(AT_ONCE)

    async def ListVoices(self, request: tts_pb2.ListVoicesRequest, context: Context) -> tts_pb2.ListVoicesResponse:
        """Voices for `language` (empty: all), sorted by name, in pages."""
        call = Call("ListVoices", context)
        return await unary_call(call, self._list(request, call.caller))

    async def GetVoice(self, request: tts_pb2.GetVoiceRequest, context: Context) -> tts_pb2.GetVoiceResponse:
        """One voice by its name, ignoring case."""
        call = Call("GetVoice", context)
        return await unary_call(call, self._get(request, call.caller))

    async def CreateVoice(self, request_iterator: Uploads, context: Context) -> tts_pb2.CreateVoiceResponse:
        """Create a voice from an uploaded recording.

        The recording is not stored.
        """
        call = Call("CreateVoice", context)
        return await unary_call(call, self._create(request_iterator, call))

    async def DeleteVoice(self, request: tts_pb2.DeleteVoiceRequest, context: Context) -> tts_pb2.DeleteVoiceResponse:
        """Delete a created voice; open turns with it finish."""
        call = Call("DeleteVoice", context)
        return await unary_call(call, self._delete(request, call))

    async def _list(self, request: tts_pb2.ListVoicesRequest, caller: Caller) -> tts_pb2.ListVoicesResponse:
        return page(request, self._state.catalog().list(caller))

    async def _get(self, request: tts_pb2.GetVoiceRequest, caller: Caller) -> tts_pb2.GetVoiceResponse:
        return tts_pb2.GetVoiceResponse(
            voice=self._state.catalog().find(requests.checked_name("name", request.name), caller)
        )

    async def _create(self, requests: Uploads, call: Call) -> tts_pb2.CreateVoiceResponse:
        """Create as one turn of the tenant.

        A slot among the working ones is taken once the recording is there.
        """
        catalog = self._state.catalog()
        async with drain_requests(requests), AsyncExitStack() as stack:
            stack.enter_context(self._tenants.turn(call.caller))
            async with _in_time(self._limits.upload_timeout):
                spec = await _first_spec(requests)
                entry = await stack.enter_async_context(self._audit.entry(call, _audit_entry(spec)))
                self._consent.check_reference("spec.consent_reference", spec.consent_reference)
                catalog.check_new(checked(spec), call.caller)
                audio = await stack.enter_async_context(self._recording(requests, call.caller))
            digest = await asyncio.to_thread(lambda: sha256(audio).digest())
            entry.audio_sha256 = digest.hex()
            self._check_digest(spec, digest)
            await stack.enter_async_context(self._place(call.caller))
            voice, notices = await catalog.create(spec, audio, call.caller, self._recordings)
        return tts_pb2.CreateVoiceResponse(voice=voice, notices=notices)

    def _check_digest(self, spec: tts_pb2.VoiceSpec, digest: bytes) -> None:
        """Set or check the digest in `spec`.

        Raises `InvalidRequest` for a wrong one, `RecordingDenied` for a denied recording.
        """
        if spec.audio_sha256 not in (b"", digest):
            raise InvalidRequest("spec.audio_sha256", "is not that of the recording that came")
        self._consent.check_recording(digest)
        spec.audio_sha256 = digest

    async def _delete(self, request: tts_pb2.DeleteVoiceRequest, call: Call) -> tts_pb2.DeleteVoiceResponse:
        async with self._audit.entry(call, AuditEntry("delete", request.name)) as entry:
            card = await self._state.catalog().delete(requests.checked_name("name", request.name), call.caller)
            entry.shared = card.owner == COMMON
            entry.audio_sha256, entry.consent_reference = card.audio_sha256, card.consent_reference
        return tts_pb2.DeleteVoiceResponse()

    @asynccontextmanager
    async def _recording(self, requests: Uploads, caller: Caller) -> AsyncIterator[bytes]:
        """The uploaded bytes, accounted in memory while the body runs.

        Raises `InvalidRequest` for too many bytes or an invalid message, `TenantLimit`, `Busy`.
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
                    await stack.enter_async_context(self._clonings.hold(caller.tenant))
            except TimeoutError:
                raise Busy(retry_after=self._limits.upload_timeout) from None
            yield


def _piece(request: tts_pb2.CreateVoiceRequest) -> bytes:
    if request.WhichOneof("payload") != "audio":
        raise InvalidRequest("payload", "must hold audio after the first message")
    return bytes(request.audio)


def _joined(pieces: list[bytes]) -> bytes:
    """`pieces` joined; empties the list."""
    whole = b"".join(pieces)
    pieces.clear()
    return whole


def _audit_entry(spec: tts_pb2.VoiceSpec) -> AuditEntry:
    return AuditEntry(
        "replace" if spec.replace else "create",
        spec.name,
        spec.shared,
        consent_reference=spec.consent_reference[: LONGEST["consent_reference"]],
    )


def checked(spec: tts_pb2.VoiceSpec) -> tts_pb2.VoiceSpec:
    """`spec`; raises `InvalidRequest` for long or malformed fields."""
    for field in ("transcript", "description"):
        most = LONGEST[field]
        if len(getattr(spec, field)) > most:
            raise InvalidRequest(f"spec.{field}", f"is longer than {most} characters")
    if not spec.speaker_embedding_only and not spec.transcript.strip():
        raise InvalidRequest("spec.transcript", "is needed unless speaker_embedding_only is set")
    if len(spec.audio_sha256) not in (0, sha256().digest_size):
        raise InvalidRequest("spec.audio_sha256", f"needs {sha256().digest_size} bytes")
    return spec


def page(request: tts_pb2.ListVoicesRequest, voices: Sequence[tts_pb2.Voice]) -> tts_pb2.ListVoicesResponse:
    """The page of `voices` for `request`, in order of name.

    A token holds the last voice of the page before, so voices created or deleted meanwhile shift no others.
    """
    if request.page_size < 0:
        raise InvalidRequest("page_size", f"{request.page_size} is below 0")
    after = _key_in(request.page_token)
    language = language_name(request.language)
    rest = [voice for voice in sorted(voices, key=_key) if _key(voice) > after and _speaks(voice, language)]
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
        raise InvalidRequest("page_token", "was not issued by this server") from error
    return name, model
