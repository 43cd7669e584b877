"""Index of stored voices: whose they are, how many fit."""

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

from engine.api.errors import InvalidRequest, VoiceNotFound
from qwentts_grpc.voices.file import NAME, VoiceCard
from qwentts_grpc.wire.errors import VoiceExists, VoicesFull

COMMON = ""  # the owner of shared voices
OWNED = "@"  # between a name, which has none, and the digest of its owner


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the storage at one version.

    The card is None where the voice is unreadable.
    """

    version: str
    card: VoiceCard | None


@dataclass(slots=True)
class VoiceIndex:
    """Entries by key; `changing`: keys being written or deleted here.

    At most `max_common` shared voices, `max_owned` of each owner, `max_total` in all. Without locks: its user has one.
    """

    max_common: int
    max_owned: int
    max_total: int
    entries: dict[str, Entry] = field(default_factory=dict)
    changing: set[str] = field(default_factory=set)
    _owned: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # keys by digest of owner

    def cards(self, owner: str) -> list[VoiceCard]:
        """The owner's voices plus common ones, by name.

        An own voice hides a common one of its name.
        """
        cards = [self.entries[key].card for tag in {"", _tag(owner)} for key in self._owned.get(tag, ())]
        named: dict[str, VoiceCard] = {}
        for card in sorted(filter(None, cards), key=lambda card: card.owner):
            named[card.name.casefold()] = card
        return sorted(named.values(), key=lambda card: card.name)

    def find(self, name: str, owner: str) -> tuple[str, VoiceCard]:
        """Key with card: the owner's voice, else the common one.

        Raises `VoiceNotFound`.
        """
        for key in (voice_key(name, owner), voice_key(name, COMMON)):
            entry = self.entries.get(key)
            if entry is not None and entry.card is not None:
                return key, entry.card
        raise VoiceNotFound(name)

    def check_owned(self, key: str, name: str) -> None:
        """Raise `VoiceNotFound` unless `key` may be deleted."""
        entry = self.entries.get(key)
        if entry is None or entry.card is None or key in self.changing:
            raise VoiceNotFound(name)

    def check_room(self, key: str, name: str, owner: str, replace: bool) -> None:
        """Raise `VoiceExists` or `VoicesFull` unless `key` may be written."""
        entry = self.entries.get(key)
        if key in self.changing or (entry is not None and not (replace and entry.card)):
            raise VoiceExists(name)
        if entry is not None:
            return
        if voice_key(name, COMMON) in self.entries:
            raise VoiceExists(name)
        coming = [other for other in self.changing if other not in self.entries]
        owned = {*self._owned.get(_tag(owner), ()), *(other for other in coming if _owned_by(other) == _tag(owner))}
        most = self.max_owned if owner else self.max_common
        if len(owned) >= most:
            raise VoicesFull(f"there are {most} voices; delete one first")
        if len(self.entries) + len(coming) >= self.max_total:
            raise VoicesFull("the server keeps no more voices")

    def put(self, key: str, entry: Entry) -> None:
        """Add or replace an entry."""
        self.entries[key] = entry
        self._owned[_owned_by(key)].add(key)

    def drop(self, key: str) -> None:
        """Remove an entry, if there."""
        self.entries.pop(key, None)
        self._owned[_owned_by(key)].discard(key)
        if not self._owned[_owned_by(key)]:
            del self._owned[_owned_by(key)]


def voice_key(name: str, owner: str) -> str:
    """Key of an owner's voice; unused for invalid names."""
    if not NAME.fullmatch(name):
        return ""
    return f"{name.casefold()}{OWNED}{_tag(owner)}" if owner else name.casefold()


def checked_key(name: str, owner: str) -> str:
    """Key of an owner's voice; raises `InvalidRequest` for invalid names."""
    if not NAME.fullmatch(name):
        raise InvalidRequest("spec.name", "needs 1 to 64 letters, digits, '_' or '-', a letter or digit first")
    return voice_key(name, owner)


def _owned_by(key: str) -> str:
    return key.partition(OWNED)[2]


def _tag(owner: str) -> str:
    return sha256(owner.encode()).hexdigest()[:32] if owner else ""
