"""The voices that callers created: by name, in any case, one of each."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from engine.byte_cache import ByteCache
from engine.errors import EngineError, InvalidRequest, VoiceNotFound
from qwentts_grpc.voice_file import DamagedVoice, StoredVoice, VoiceCard, from_bytes, to_bytes
from qwentts_grpc.voice_shelf import Shelf

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class VoiceExists(EngineError):
    """A created voice has this name already."""

    reason = "VOICE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"voice {name!r} exists")
        self.name = name


class VoicesFull(EngineError):
    """The store holds as many voices as it may."""

    reason = "VOICES_FULL"


class VoiceStore:
    """Cards of all voices in memory, their arrays on a shelf, the most recently used arrays in a cache.

    Methods may be called from any thread and hold no lock across the shelf's work. `card` and `cards` never block;
    the others may wait for a disk, except `get` of a cached voice: call them on a worker thread. `on_lookup` hears
    of each `get` whether the cache had the voice. A file that cannot be read is reported and left alone, and its
    name stays taken.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        max_voices: int = 1_000,
        cache_bytes: int = 64 * 2**20,
        on_lookup: Callable[[bool], None] = lambda hit: None,
    ) -> None:
        self._shelf = shelf
        self._max_voices = max_voices
        self._on_lookup = on_lookup
        self._lock = Lock()
        self._cache: ByteCache[str, StoredVoice] = ByteCache(cache_bytes)
        self._cards = dict(_readable(shelf))
        self._taken = set(shelf.names())

    @property
    def cached_bytes(self) -> int:
        """Bytes of the arrays in the cache."""
        return self._cache.bytes

    def cards(self) -> list[VoiceCard]:
        """All voices in order of name."""
        with self._lock:
            return sorted(self._cards.values(), key=lambda card: card.name)

    def card(self, name: str) -> VoiceCard:
        """The card of one voice; raises `VoiceNotFound`."""
        with self._lock:
            return self._known(name)

    def get(self, name: str) -> StoredVoice:
        """The voice with its arrays; raises `VoiceNotFound`."""
        key = name.casefold()
        with self._lock:
            card, voice = self._known(name), self._cache.get(key)
        self._on_lookup(voice is not None)
        return self._load(key, card) if voice is None else voice

    def check_new(self, name: str) -> None:
        """Raise what `create` would raise for this name now."""
        key = _checked(name).casefold()
        with self._lock:
            self._check_room(key, name)

    def create(self, voice: StoredVoice) -> None:
        """Keep a new voice; raises `InvalidRequest` for its name, `VoiceExists` or `VoicesFull`."""
        key = _checked(voice.card.name).casefold()
        data = to_bytes(voice)
        kept = from_bytes(data)
        with self._reserved(key, voice.card.name):
            self._shelf.write(key, data)
        with self._lock:
            self._cards[key] = kept.card
            self._cache.put(key, kept, kept.size)

    def delete(self, name: str) -> None:
        """Forget a voice; speeches that hold it go on. Raises `VoiceNotFound`."""
        key = name.casefold()
        with self._lock:
            card = self._known(name)
            del self._cards[key]
            self._cache.drop(key)
        try:
            self._shelf.remove(key)
        except OSError:
            with self._lock:
                self._cards[key] = card
            raise
        with self._lock:
            self._taken.discard(key)

    def _known(self, name: str) -> VoiceCard:
        card = self._cards.get(name.casefold())
        if card is None:
            raise VoiceNotFound(name)
        return card

    def _load(self, key: str, card: VoiceCard) -> StoredVoice:
        try:
            voice = from_bytes(self._shelf.read(key))
        except KeyError as error:  # deleted since the look-up
            raise VoiceNotFound(card.name) from error
        with self._lock:
            if self._cards.get(key) is card:
                self._cache.put(key, voice, voice.size)
        return voice

    def _check_room(self, key: str, name: str) -> None:
        if key in self._taken:
            raise VoiceExists(name)
        if len(self._taken) >= self._max_voices:
            raise VoicesFull(f"there are {self._max_voices} voices; delete one first")

    @contextmanager
    def _reserved(self, key: str, name: str) -> Iterator[None]:
        """Hold `key` against others; it stays taken unless the body fails."""
        with self._lock:
            self._check_room(key, name)
            self._taken.add(key)
        try:
            yield
        except BaseException:
            with self._lock:
                self._taken.discard(key)
            raise


def _readable(shelf: Shelf) -> Iterator[tuple[str, VoiceCard]]:
    for key in shelf.names():
        try:
            card = from_bytes(shelf.read(key)).card
        except DamagedVoice as error:
            _log.warning("voice file %s is ignored: %s", key, error)
            continue
        if _NAME.fullmatch(card.name) and card.name.casefold() == key:
            yield key, card
        else:
            _log.warning("voice file %s is ignored: it belongs to another name", key)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest("spec.name", "needs 1 to 64 letters, digits, '_' or '-', a letter or digit first")
    return name
