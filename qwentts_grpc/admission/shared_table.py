"""Hash table in shared memory: one writer, many readers.

No lock is needed. Values are 8 bytes at addresses divisible by 8: CPython copies such an item of a memoryview by one
load or store, which x86-64 and AArch64 make indivisible, so that a reader sees an old value or a new one, never a
mixture. A key is two words, written while its value is 0. A reader that found its key looks again after reading the
value: where the key has gone, its value was 0 in between.
"""

Key = tuple[int, int]
WORDS = 3  # of a slot: the key's two, the value


class Table:
    """View of `slots` slots over signed words of 8 bytes.

    `slots` is a power of two.
    Open addressing, linear probing. A key's first word is never 0: a slot with 0 ends a search.
    """

    def __init__(self, words: memoryview, slots: int) -> None:
        self.first, self.second, self.values = (words[at * slots : (at + 1) * slots] for at in range(WORDS))
        self.mask = slots - 1

    def get(self, key: Key) -> int:
        """The value of `key`, for any process.

        0 where it is absent.
        """
        first, second = key
        words, home = self.first, first & self.mask
        at = home
        while word := words[at]:
            if word == first and self.second[at] == second:
                value: int = self.values[at]
                return value if words[at] == first and self.second[at] == second else 0
            at = at + 1 & self.mask
            if at == home:
                break
        return 0

    def clear(self) -> None:
        """Remove all; for the writer, or where it has died."""
        for words in (self.values, self.first, self.second):
            for at in range(self.mask + 1):
                words[at] = 0

    def release(self) -> None:
        """Release the view."""
        for words in (self.first, self.second, self.values):
            words.release()


class Writer:
    """The one writer of a table, which it clears.

    `most` bounded keys have room. A later one is left out, unseen by others, until it is put again and there is room.
    """

    def __init__(self, table: Table, most: int) -> None:
        self._table, self._most = table, most
        self._slots: dict[Key, int] = {}
        table.clear()

    def put(self, key: Key, value: int, bounded: bool = True) -> None:
        """Set the value of `key`; 0 removes it."""
        slot = self._slots.get(key)
        if slot is None:
            if not value or (bounded and len(self._slots) >= self._most):
                return
            slot = self._slots[key] = self._place(key)
        self._table.values[slot] = value
        if not value:
            del self._slots[key]
            self._vacate(slot)

    def _place(self, key: Key) -> int:
        """Write `key` to its slot, else the first vacant."""
        table, vacant, at = self._table, -1, key[0] & self._table.mask
        for _ in range(table.mask + 1):
            word = table.first[at]
            if word == key[0] and table.second[at] == key[1]:
                return at
            if vacant < 0 and not table.values[at]:
                vacant = at
            if not word:
                break
            at = at + 1 & table.mask
        table.second[vacant] = key[1]
        table.first[vacant] = key[0]  # the last, because readers look for it
        return vacant

    def _vacate(self, slot: int) -> None:
        """End searches at `slot`, if none goes beyond it."""
        table = self._table
        if table.first[slot + 1 & table.mask]:
            return
        while table.first[slot] and not table.values[slot]:
            table.first[slot] = 0
            slot = slot - 1 & table.mask
