"""VoiceService: which voices there are."""

import base64
import binascii
from typing import NoReturn

from engine.config import ModelCard
from engine.errors import InvalidRequest, VoiceNotFound
from qwentts_grpc import convert
from qwentts_grpc.calls import Call, Context, answer
from qwentts_grpc.errors import NotOffered
from qwentts_grpc.gate import Gate
from qwentts_grpc.v1 import tts_pb2, tts_pb2_grpc

PAGE, LARGEST_PAGE = 50, 1_000


class VoiceService(tts_pb2_grpc.VoiceServiceServicer):
    """Lists the voices of the loaded checkpoint; it keeps none of its own."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def ListVoices(self, request: tts_pb2.ListVoicesRequest, context: Context) -> tts_pb2.ListVoicesResponse:
        """The voices that speak `language` (all, where it is empty), by name, a page at a time."""
        return await answer(Call("ListVoices", context), lambda: page(request, voices(self._gate.engine().card)))

    async def GetVoice(self, request: tts_pb2.GetVoiceRequest, context: Context) -> tts_pb2.GetVoiceResponse:
        """One voice by its name, in any case."""
        return await answer(Call("GetVoice", context), lambda: self._get(request))

    async def CreateVoice(self, request_iterator: object, context: Context) -> tts_pb2.CreateVoiceResponse:
        """Refused: the server keeps no voices; clone with `reference` in the config."""
        return await answer(Call("CreateVoice", context), _refuse)

    async def DeleteVoice(self, request: tts_pb2.DeleteVoiceRequest, context: Context) -> tts_pb2.DeleteVoiceResponse:
        """Refused: the server keeps no voices."""
        return await answer(Call("DeleteVoice", context), _refuse)

    def _get(self, request: tts_pb2.GetVoiceRequest) -> tts_pb2.GetVoiceResponse:
        wanted = convert.name("name", request.name).casefold()
        for voice in voices(self._gate.engine().card):
            if voice.name.casefold() == wanted:
                return tts_pb2.GetVoiceResponse(voice=voice)
        raise VoiceNotFound(request.name)


def voices(card: ModelCard) -> list[tts_pb2.Voice]:
    """The built-in voices by name; each speaks every language of its checkpoint."""
    return [
        tts_pb2.Voice(name=name, kind=tts_pb2.VOICE_KIND_BUILT_IN, languages=card.languages, model=card.name)
        for name in sorted(card.voices)
    ]


def page(request: tts_pb2.ListVoicesRequest, everyone: list[tts_pb2.Voice]) -> tts_pb2.ListVoicesResponse:
    """The page of `everyone` (in order of name) that `request` asks for.

    A token says the last name of the page before it, so voices that come or go move no others across pages.
    """
    if request.page_size < 0:
        raise InvalidRequest("page_size", f"{request.page_size} is below 0")
    after = _name_in(request.page_token)
    language = request.language.casefold()
    rest = [voice for voice in everyone if voice.name > after and _speaks(voice, language)]
    size = min(request.page_size or PAGE, LARGEST_PAGE)
    token = _token(rest[size - 1].name) if len(rest) > size else ""
    return tts_pb2.ListVoicesResponse(voices=rest[:size], next_page_token=token)


def _speaks(voice: tts_pb2.Voice, language: str) -> bool:
    return not language or language in (known.casefold() for known in voice.languages)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_in(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest("page_token", "is not one that this server gave") from error


def _refuse() -> NoReturn:
    raise NotOffered("this server keeps no voices; give the recording as config.reference")
