"""Who can speak here: the built-in voices of every checkpoint, and the voices that callers created."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from engine.config import ModelCard
from engine.errors import InvalidRequest, Unsupported, VoiceNotFound
from engine.loop import Engine
from engine.request import Reference
from engine.voice import Voice
from qwentts_grpc.audio.decode import decode_reference
from qwentts_grpc.fleet import Fleet, has_voice
from qwentts_grpc.v1 import tts_pb2
from qwentts_grpc.voice_file import StoredVoice, VoiceCard
from qwentts_grpc.voice_store import VoiceExists, VoiceStore

REHEARSED = 50  # voices: about as many as a checkpoint's codec remembers


class Cast:
    """A created voice never has a built-in one's name; one kept from before that has is not heard."""

    def __init__(self, fleet: Fleet, store: VoiceStore) -> None:
        self.fleet, self.store = fleet, store

    def everyone(self) -> list[tts_pb2.Voice]:
        """Every voice that can be asked for now."""
        built_in = [voice for engine in self.fleet.engines for voice in built_in_voices(engine.card)]
        return built_in + [voice for card in self.store.cards() if (voice := self._created(card)) is not None]

    def find(self, name: str) -> tts_pb2.Voice:
        """One voice by its name, in any case; raises `VoiceNotFound`."""
        for voice in self.everyone():
            if voice.name.casefold() == name.casefold():
                return voice
        raise VoiceNotFound(name, self._names())

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let a `VoiceNotFound` name voices of all checkpoints, and created ones."""
        try:
            yield
        except VoiceNotFound as error:
            raise VoiceNotFound(error.name, self._names()) from error

    def home(self, name: str) -> str:
        """The checkpoint that made a created voice; empty for any other name."""
        if not name or self._is_built_in(name):
            return ""
        try:
            return self.store.card(name).model
        except VoiceNotFound:
            return ""

    async def kept(self, name: str) -> Voice:
        """What the engine needs of a created voice; raises `VoiceNotFound`."""
        stored = await asyncio.to_thread(self.store.get, name)
        codes = stored.codes if len(stored.codes) else None
        return Voice(embedding=stored.embedding, codes=codes, transcript=stored.card.transcript)

    def check_new(self, name: str) -> None:
        """Raise what `create` would raise for this name, before there is a recording; also where none can be made."""
        assert self.fleet.cloning
        if self._is_built_in(name):
            raise VoiceExists(name)
        self.store.check_new(name)

    async def create(self, spec: tts_pb2.VoiceSpec, audio: bytes, max_seconds: float) -> tts_pb2.Voice:
        """Keep the voice of a recording (a file's bytes), not the recording.

        Raises `InvalidRequest`, `Unsupported`, `VoiceExists`, `VoicesFull`.
        """
        self.check_new(spec.name)
        engine = self.fleet.cloning
        with _fields_of_create():
            samples = await asyncio.to_thread(decode_reference, audio, max_seconds=max_seconds)
            voice = await engine.clone(Reference(samples, spec.transcript, spec.speaker_embedding_only))
        stored = _stored(spec, engine.card.name, voice)
        await asyncio.to_thread(self.store.create, stored)
        return _created(stored.card, engine)

    async def rehearse(self, seconds: float) -> None:
        """Let the latest voices begin at once, as many as `seconds` allow; others do so from their second turn on."""
        until = time.monotonic() + seconds
        for card in sorted(self.store.cards(), key=lambda card: -card.create_time_ns)[:REHEARSED]:
            engine = self.fleet.named(card.model)
            if engine is not None and time.monotonic() < until:
                with suppress(Unsupported):  # made by another size of checkpoint: its turns will be told
                    await engine.learn(await self.kept(card.name))

    async def delete(self, name: str) -> None:
        """Forget a created voice; turns that speak with it go on. Raises `VoiceNotFound`, or for a built-in one
        `InvalidRequest`."""
        if self._is_built_in(name):
            raise InvalidRequest("name", "is a built-in voice, which stays")
        with self.naming():
            await asyncio.to_thread(self.store.delete, name)

    def _names(self) -> Iterator[str]:
        return (voice.name for voice in self.everyone())

    def _is_built_in(self, name: str) -> bool:
        return any(has_voice(engine, name) for engine in self.fleet.engines)

    def _created(self, card: VoiceCard) -> tts_pb2.Voice | None:
        engine = self.fleet.named(card.model)
        return None if engine is None or self._is_built_in(card.name) else _created(card, engine)


def built_in_voices(card: ModelCard) -> Iterator[tts_pb2.Voice]:
    """A checkpoint's own voices; each speaks every language of its checkpoint."""
    for name in card.voices:
        yield tts_pb2.Voice(name=name, kind=tts_pb2.VOICE_KIND_BUILT_IN, languages=card.languages, model=card.name)


def _created(card: VoiceCard, engine: Engine) -> tts_pb2.Voice:
    voice = tts_pb2.Voice(
        name=card.name,
        kind=tts_pb2.VOICE_KIND_CLONED,
        description=card.description,
        languages=engine.card.languages,
        model=card.model,
    )
    voice.create_time.FromNanoseconds(card.create_time_ns)
    return voice


def _stored(spec: tts_pb2.VoiceSpec, model: str, voice: Voice) -> StoredVoice:
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
    )
    return StoredVoice(card, codes, voice.embedding)


@contextmanager
def _fields_of_create() -> Iterator[None]:
    """Name the fields of an `InvalidRequest` as the messages of CreateVoice do."""
    try:
        yield
    except InvalidRequest as error:
        field = {"reference.audio": "audio", "reference.transcript": "spec.transcript"}.get(error.field, error.field)
        raise InvalidRequest(field, error.description, error.reason) from error
