"""VoiceService: which voices there are, and how callers make and delete their own."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

from engine.errors import Busy, InputIdle, InvalidRequest
from engine.languages import language_name
from qwentts_grpc import convert
from qwentts_grpc.audio.decode import MAX_BYTES
from qwentts_grpc.calls import Call, Context, answer
from qwentts_grpc.gate import Gate
from qwentts_grpc.limits import Limits
from qwentts_grpc.reading import heard_out
from qwentts_grpc.v1 import tts_pb2, tts_pb2_grpc

PAGE, LARGEST_PAGE = 50, 1_000
AT_ONCE = 8  # recordings in memory; further callers wait with theirs unread

Uploads = AsyncIterator[tts_pb2.CreateVoiceRequest]
Key = tuple[str, str]  # name, model: checkpoints may have voices of one name


class VoiceService(tts_pb2_grpc.VoiceServiceServicer):
    """The voices' half of the contract; every call goes through `gate`."""

    def __init__(self, gate: Gate, limits: Limits) -> None:
        self._gate = gate
        self._limits = limits
        self._places = asyncio.Semaphore(AT_ONCE)

    async def ListVoices(self, request: tts_pb2.ListVoicesRequest, context: Context) -> tts_pb2.ListVoicesResponse:
        """The voices that speak `language` (all, where it is empty), by name, a page at a time."""
        return await answer(Call("ListVoices", context), self._list(request))

    async def GetVoice(self, request: tts_pb2.GetVoiceRequest, context: Context) -> tts_pb2.GetVoiceResponse:
        """One voice by its name, in any case."""
        return await answer(Call("GetVoice", context), self._get(request))

    async def CreateVoice(self, request_iterator: Uploads, context: Context) -> tts_pb2.CreateVoiceResponse:
        """Make a voice of a recording that comes in pieces; the recording itself is not kept."""
        return await answer(Call("CreateVoice", context), self._create(request_iterator))

    async def DeleteVoice(self, request: tts_pb2.DeleteVoiceRequest, context: Context) -> tts_pb2.DeleteVoiceResponse:
        """Forget a created voice; turns that are speaking with it finish."""
        return await answer(Call("DeleteVoice", context), self._delete(request))

    async def _list(self, request: tts_pb2.ListVoicesRequest) -> tts_pb2.ListVoicesResponse:
        return page(request, self._gate.cast().everyone())

    async def _get(self, request: tts_pb2.GetVoiceRequest) -> tts_pb2.GetVoiceResponse:
        return tts_pb2.GetVoiceResponse(voice=self._gate.cast().find(convert.name("name", request.name)))

    async def _create(self, requests: Uploads) -> tts_pb2.CreateVoiceResponse:
        cast = self._gate.cast()
        async with heard_out(requests), self._place():
            async with _in_time(self._limits.upload_timeout):
                spec = checked(await _first_spec(requests))
                cast.check_new(spec.name)
                audio = await whole_recording(requests)
            if spec.audio_sha256 not in (b"", sha256(audio).digest()):
                raise InvalidRequest("spec.audio_sha256", "is not that of the recording that came")
            spec.audio_sha256 = sha256(audio).digest()
            voice = await cast.create(spec, audio, self._limits.reference_seconds)
        return tts_pb2.CreateVoiceResponse(voice=voice)

    async def _delete(self, request: tts_pb2.DeleteVoiceRequest) -> tts_pb2.DeleteVoiceResponse:
        await self._gate.cast().delete(convert.name("name", request.name))
        return tts_pb2.DeleteVoiceResponse()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.upload_timeout):
                await self._places.acquire()
        except TimeoutError:
            raise Busy(retry_after=self._limits.upload_timeout) from None
        try:
            yield
        finally:
            self._places.release()


async def whole_recording(requests: Uploads) -> bytes:
    """The pieces of a recording, joined; raises `InvalidRequest` for too many bytes, or for what is no piece."""
    audio = bytearray()
    async for request in requests:
        if request.WhichOneof("payload") != "audio":
            raise InvalidRequest("payload", "must hold audio after the first message")
        audio += request.audio
        if len(audio) > MAX_BYTES:
            raise InvalidRequest("audio", f"has more than {MAX_BYTES} bytes")
    return bytes(audio)


def checked(spec: tts_pb2.VoiceSpec) -> tts_pb2.VoiceSpec:
    """`spec`, or `InvalidRequest` for what is too long or malformed in it."""
    for field, most in (("transcript", 10_000), ("description", 1_000), ("consent_reference", 1_000)):
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
