"""A cache of the most recently used values, bounded in bytes."""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ByteCache(Generic[Key, Value]):
    """Drops what was used longest ago once the sizes add up to more than `capacity`. Not safe across threads."""

    def __init__(self, capacity: int) -> None:
        self.bytes = 0
        self._capacity = capacity
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """The value, now the most recently used, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep `value`, unless it alone is larger than the capacity."""
        self.drop(key)
        if size > self._capacity:
            return
        self._entries[key] = value, size
        self.bytes += size
        while self.bytes > self._capacity:
            _, (_, dropped) = self._entries.popitem(last=False)
            self.bytes -= dropped

    def drop(self, key: Key) -> None:
        """Forget `key` if it is here."""
        _, size = self._entries.pop(key, (None, 0))
        self.bytes -= size
