"""Cache of recently used values, bounded in bytes."""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ByteCache(Generic[Key, Value]):
    """Least-recently-used cache of at most `capacity` bytes.

    Not safe across threads.
    """

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
        """Store `value`, unless it alone exceeds the capacity."""
        self.drop(key)
        if size > self._capacity:
            return
        self._entries[key] = value, size
        self.bytes += size
        while self.bytes > self._capacity:
            _, (_, dropped) = self._entries.popitem(last=False)
            self.bytes -= dropped

    def drop(self, key: Key) -> None:
        """Drop `key` if present."""
        _, size = self._entries.pop(key, (None, 0))
        self.bytes -= size
