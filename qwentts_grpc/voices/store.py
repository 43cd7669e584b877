"""Created voices: index, files in storage, cache."""

import errno
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event, Lock

from engine.api.errors import VoiceNotFound
from engine.byte_cache import ByteCache
from qwentts_grpc.voices.file import DamagedVoice, StoredVoice, VoiceCard, from_bytes, to_bytes
from qwentts_grpc.voices.index import COMMON, Entry, VoiceIndex, checked_key, voice_key
from qwentts_grpc.voices.storage import MAX_BYTES, BlobStore
from qwentts_grpc.wire.errors import StorageFull, VoiceExists

FULL = (errno.ENOSPC, errno.EDQUOT)
READERS = 16  # threads of a refresh: object stores answer after milliseconds
THOROUGH = 15  # one refresh in this many also finds a file changed in place

_log = logging.getLogger(__name__)


class VoiceStore:
    """Cards in memory, arrays in storage behind an LRU cache.

    A caller's name for a voice means its owner's own voice first, then the common one. Names are unique for each owner.
    Methods may be called from any thread and hold no lock across storage work. `card` and `cards` never block; the
    others may wait for a disk, except `get` of a cached voice: call them on a worker thread. `on_lookup` is called with
    each `get`: whether it hit the cache. An unreadable file is reported and left alone, and its name stays taken.
    `refresh` loads changes of other servers.
    """

    def __init__(
        self,
        storage: BlobStore,
        *,
        max_common: int = 1_000,
        max_owned: int = 100,
        max_total: int = 10_000,
        cache_bytes: int = 64 * 2**20,
        on_lookup: Callable[[bool], None] = lambda hit: None,
    ) -> None:
        """At most `max_common` shared voices, `max_owned` of each owner.

        Raises OSError of the storage.
        """
        self._storage = storage
        self._on_lookup = on_lookup
        self._lock = Lock()
        self._cache: ByteCache[str, StoredVoice] = ByteCache(cache_bytes)
        self._index = VoiceIndex(max_common, max_owned, max_total)
        self.refresh()

    @property
    def cached_bytes(self) -> int:
        """Bytes of the arrays in the cache."""
        return self._cache.bytes

    def cards(self, owner: str = COMMON) -> list[VoiceCard]:
        """The owner's voices plus common ones, by name.

        An own voice hides a common one of its name.
        """
        with self._lock:
            return self._index.cards(owner)

    def all_cards(self) -> list[VoiceCard]:
        """Cards of every owner."""
        with self._lock:
            return [entry.card for entry in self._index.entries.values() if entry.card is not None]

    def card(self, name: str, owner: str = COMMON) -> VoiceCard:
        """The card of one voice; raises `VoiceNotFound`."""
        with self._lock:
            return self._index.find(name, owner)[1]

    def get(self, name: str, owner: str = COMMON) -> StoredVoice:
        """The voice with its arrays; raises `VoiceNotFound`."""
        with self._lock:
            key, card = self._index.find(name, owner)
            voice = self._cache.get(key)
        self._on_lookup(voice is not None)
        return self._load(key, card) if voice is None else voice

    def check_new(self, name: str, owner: str = COMMON, *, replace: bool = False) -> None:
        """Raise the errors of `create` for this name."""
        key = checked_key(name, owner)
        with self._lock:
            self._index.check_room(key, name, owner, replace)

    def create(self, voice: StoredVoice, *, replace: bool = False) -> None:
        """Store a voice, or replace the owner's namesake.

        Raises `InvalidRequest` for its name, `VoiceExists`, `VoicesFull` or `StorageFull`.
        """
        card = voice.card
        key = checked_key(card.name, card.owner)
        data = to_bytes(voice)
        kept = from_bytes(data)
        assert len(data) <= MAX_BYTES
        with self._changes(key, lambda: self._index.check_room(key, card.name, card.owner, replace)):
            try:
                version = self._storage.write(key, data, replace=replace)
            except FileExistsError:  # another server's
                raise VoiceExists(card.name) from None
            except OSError as error:
                if error.errno not in FULL:
                    raise
                raise StorageFull from error
            with self._lock:
                self._index.put(key, Entry(version, kept.card))
                self._cache.put(key, kept, kept.size)

    def delete(self, name: str, owner: str = COMMON) -> None:
        """Delete the owner's voice; open speeches with it go on.

        Raises `VoiceNotFound`.
        """
        key = voice_key(name, owner)
        with self._changes(key, lambda: self._index.check_owned(key, name)):
            self._storage.delete(key)
            with self._lock:
                self._drop(key)

    def refresh(self) -> None:
        """Load changes from the storage; raises OSError.

        Changes made here meanwhile are newer.
        """
        with self._lock:
            before = self._index.entries.copy()
        now = self._storage.list()
        for key in before.keys() - now.keys():
            self._settle(key, before[key], None)
        changed = [key for key in sorted(now) if key not in before or before[key].version != now[key]]
        with ThreadPoolExecutor(READERS) as pool:
            for key, card in zip(changed, pool.map(self._readable, changed), strict=True):
                self._settle(key, before.get(key), Entry(now[key], card))

    def follow(self, seconds: float, stop: Event) -> None:
        """Refresh every `seconds` until `stop`; a fault is reported once."""
        fault, last_mark = "", ""
        for turn in count(1):
            if stop.wait(seconds):
                return
            try:
                mark = self._storage.mark()
                if mark != last_mark or turn % THOROUGH == 0:
                    self.refresh()
                fault, last_mark = "", mark
            except OSError as error:
                if fault != str(error):
                    fault = str(error)
                    _log.warning("changes of other servers cannot be read: %s", fault)

    def _settle(self, key: str, before: Entry | None, after: Entry | None) -> None:
        with self._lock:
            if key in self._index.changing or self._index.entries.get(key) is not before:
                return
            if after is None:
                self._drop(key)
            elif before is None and len(self._index.entries) >= self._index.max_total:
                _log.warning("voice file %a is ignored: there are %d voices", key, self._index.max_total)
            else:
                self._cache.drop(key)
                self._index.put(key, after)

    def _readable(self, key: str) -> VoiceCard | None:
        """The card, or None if unreadable.

        Files and their names are untrusted.
        """
        try:
            return self._read(key).card
        except KeyError:
            return None
        except (DamagedVoice, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            _log.warning("voice file %a is ignored: %s", key, reason)
            return None

    def _read(self, key: str) -> StoredVoice:
        voice = from_bytes(self._storage.read(key))
        if voice_key(voice.card.name, voice.card.owner) != key:
            raise DamagedVoice("it belongs to another name")
        return voice

    def _load(self, key: str, card: VoiceCard) -> StoredVoice:
        try:
            voice = self._read(key)
        except (KeyError, DamagedVoice) as error:  # deleted or damaged since the look-up
            raise VoiceNotFound(card.name) from error
        with self._lock:
            entry = self._index.entries.get(key)
            if entry is not None and entry.card is card and key not in self._index.changing:
                self._cache.put(key, voice, voice.size)
        return voice

    @contextmanager
    def _changes(self, key: str, check: Callable[[], None]) -> Iterator[None]:
        """Reserve `key` while it changes.

        `check` runs with the lock held, and raises where the change is not allowed.
        """
        with self._lock:
            check()
            self._index.changing.add(key)
            self._cache.drop(key)
        try:
            yield
        finally:
            with self._lock:
                self._index.changing.discard(key)

    def _drop(self, key: str) -> None:
        self._index.drop(key)
        self._cache.drop(key)
