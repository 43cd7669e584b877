"""Voice catalog: built-in voices plus a caller's created ones."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from engine.api.client import EngineClient
from engine.api.config import ModelCard
from engine.api.errors import InvalidRequest, Unsupported, VoiceNotFound
from engine.api.voice import Voice
from engine.progress import Progress
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.recordings.recordings import Notices, Recordings
from qwentts_grpc.voices.file import StoredVoice, VoiceCard
from qwentts_grpc.voices.index import COMMON
from qwentts_grpc.voices.models import ModelRegistry, has_voice
from qwentts_grpc.voices.store import VoiceStore
from qwentts_grpc.wire.caller import Caller, shown
from qwentts_grpc.wire.errors import VoiceExists, VoiceForbidden

PREWARMED = 50  # voices: about as many as fit a checkpoint's cache of codec states


class VoiceCatalog:
    """Voices available to each caller: own, shared, built-in.

    A created voice never has a built-in one's name; a stored one that does, from before, is ignored. Voices of other
    tenants give the same VOICE_NOT_FOUND as names that never existed.
    """

    def __init__(
        self, models: ModelRegistry, store: VoiceStore, changed: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`changed` is awaited after each creation or deletion."""
        self.models, self.store = models, store
        self._changed = changed

    def list(self, caller: Caller) -> Sequence[tts_pb2.Voice]:
        """Every voice available to the caller now."""
        built_in = [voice for engine in self.models.engines for voice in built_in_voices(engine.card)]
        cards = self.store.cards(caller.tenant)
        return built_in + [voice for card in cards if (voice := self._created(card, caller)) is not None]

    def find(self, name: str, caller: Caller) -> tts_pb2.Voice:
        """One voice by its name, ignoring case; raises `VoiceNotFound`."""
        for voice in self.list(caller):
            if voice.name.casefold() == name.casefold():
                return voice
        raise VoiceNotFound(name, self._names(caller))

    @contextmanager
    def naming(self, caller: Caller) -> Iterator[None]:
        """Complete the names in a `VoiceNotFound`.

        Voices of all checkpoints are listed, created ones too.
        """
        try:
            yield
        except VoiceNotFound as error:
            raise VoiceNotFound(error.name, self._names(caller)) from error

    def origin_model(self, name: str, caller: Caller) -> str:
        """Checkpoint of a created voice; empty for any other name."""
        if not name or self._is_built_in(name):
            return ""
        try:
            return self.store.card(name, caller.tenant).model
        except VoiceNotFound:
            return ""

    async def load(self, name: str, owner: str) -> Voice:
        """A created voice for the engine; raises `VoiceNotFound`."""
        stored = await asyncio.to_thread(self.store.get, name, owner)
        codes = stored.codes if len(stored.codes) else None
        card = stored.card
        return Voice(embedding=stored.embedding, codes=codes, transcript=card.transcript, scope=card.owner)

    def check_new(self, spec: tts_pb2.VoiceSpec, caller: Caller) -> None:
        """Raise the errors of `create` before a recording is received.

        Also where no checkpoint can clone.
        """
        assert self.models.cloning
        if spec.shared and not caller.keeps_shared:
            raise VoiceForbidden(spec.name)
        if self._is_built_in(spec.name):
            raise VoiceExists(spec.name)
        self.store.check_new(spec.name, _owner(spec, caller), replace=spec.replace)

    async def create(
        self, spec: tts_pb2.VoiceSpec, audio: bytes, caller: Caller, recordings: Recordings
    ) -> tuple[tts_pb2.Voice, Notices]:
        """Create a voice from a recording's bytes.

        The recording is not stored.
        Raises `InvalidRequest`, `Unsupported`, `VoiceExists`, `VoiceForbidden`, `VoicesFull`, `StorageFull`, and the
        errors of `Recordings.decode`.
        """
        self.check_new(spec, caller)
        engine, owner = self.models.cloning, _owner(spec, caller)
        with _fields_of_create():
            reference, notices = await recordings.decode(
                audio, caller, spec.transcript, spec.speaker_embedding_only, owner
            )
            voice = await engine.clone(reference)
        stored = _stored(spec, engine.card.name, voice, owner)
        await asyncio.to_thread(self.store.create, stored, replace=spec.replace)
        await self._tell()
        return _created(stored.card, engine, caller), notices

    async def prewarm(self, seconds: float) -> None:
        """Prime the codec with the latest voices, within `seconds`.

        The others are primed by their first turn.
        """
        until = time.monotonic() + seconds
        latest = sorted(self.store.all_cards(), key=lambda card: -card.create_time_ns)[:PREWARMED]
        with Progress("preparing created voices", "voices", len(latest)) as progress:
            for card in latest:
                engine = self.models.named(card.model)
                if engine is not None and time.monotonic() < until:
                    with suppress(Unsupported, VoiceNotFound):  # made by another size of checkpoint, or deleted since
                        await engine.prime(await self.load(card.name, card.owner))
                        progress.advance()

    async def delete(self, name: str, caller: Caller) -> VoiceCard:
        """Delete a created voice; open turns with it go on.

        Raises `VoiceNotFound`, `VoiceForbidden`, or for a built-in one `InvalidRequest`.
        """
        if self._is_built_in(name):
            raise InvalidRequest("name", "is a built-in voice, which stays")
        with self.naming(caller):
            card = self.store.card(name, caller.tenant)
            if not _keeps(card, caller):
                raise VoiceForbidden(name)
            await asyncio.to_thread(self.store.delete, name, card.owner)
            await self._tell()
        return card

    async def _tell(self) -> None:
        if self._changed is not None:
            await self._changed()

    def _names(self, caller: Caller) -> Iterator[str]:
        return (voice.name for voice in self.list(caller))

    def _is_built_in(self, name: str) -> bool:
        return any(has_voice(engine, name) for engine in self.models.engines)

    def _created(self, card: VoiceCard, caller: Caller) -> tts_pb2.Voice | None:
        engine = self.models.named(card.model)
        return None if engine is None or self._is_built_in(card.name) else _created(card, engine, caller)


def built_in_voices(card: ModelCard) -> Iterator[tts_pb2.Voice]:
    """Built-in voices of a checkpoint, each in all its languages."""
    for name in card.voices:
        yield tts_pb2.Voice(name=name, kind=tts_pb2.VOICE_KIND_BUILT_IN, languages=card.languages, model=card.name)


def _owner(spec: tts_pb2.VoiceSpec, caller: Caller) -> str:
    return COMMON if spec.shared else caller.tenant


def _keeps(card: VoiceCard, caller: Caller) -> bool:
    """Whether the caller may delete the voice."""
    return caller.keeps_shared if card.owner == COMMON else card.owner == caller.tenant


def _created(card: VoiceCard, engine: EngineClient, caller: Caller) -> tts_pb2.Voice:
    voice = tts_pb2.Voice(
        name=card.name,
        kind=tts_pb2.VOICE_KIND_CLONED,
        description=card.description,
        languages=engine.card.languages,
        model=card.model,
        owner=shown(card.owner),
        consent_reference=card.consent_reference if _keeps(card, caller) else "",
    )
    voice.create_time.FromNanoseconds(card.create_time_ns)
    return voice


def _stored(spec: tts_pb2.VoiceSpec, model: str, voice: Voice, owner: str) -> StoredVoice:
    assert voice.embedding is not None
    codes = np.zeros((0, 0), np.int32) if voice.codes is None else voice.codes
    card = VoiceCard(
        name=spec.name,
        model=model,
        create_time_ns=time.time_ns(),
        transcript=voice.transcript,
        description=spec.description,
        audio_sha256=spec.audio_sha256.hex(),
        consent_reference=spec.consent_reference,
        owner=owner,
    )
    return StoredVoice(card, codes, voice.embedding)


@contextmanager
def _fields_of_create() -> Iterator[None]:
    """Name the fields of an `InvalidRequest` as CreateVoice does."""
    try:
        yield
    except InvalidRequest as error:
        field = {"reference.audio": "audio", "reference.transcript": "spec.transcript"}.get(error.field, error.field)
        raise InvalidRequest(field, error.description, error.reason) from error
