"""Pool of key-value blocks: a free list of numbers."""


class BlockPool:
    """`capacity` blocks, numbered from 1.

    Block 0 is scratch and never handed out.
    """

    def __init__(self, capacity: int, block_size: int) -> None:
        self.capacity = capacity
        self.block_size = block_size
        self._free = list(range(capacity, 0, -1))

    @property
    def used(self) -> int:
        """Blocks handed out now."""
        return self.capacity - len(self._free)

    def needed(self, positions: int) -> int:
        """Blocks that hold `positions`."""
        return -(-positions // self.block_size)

    def grow(self, blocks: list[int], positions: int) -> bool:
        """Extend `blocks` in place to hold `positions`.

        False, with nothing taken, if the pool has too few.
        """
        missing = self.needed(positions) - len(blocks)
        if missing <= 0:
            return True
        if missing > len(self._free):
            return False
        blocks.extend(self._free.pop() for _ in range(missing))
        return True

    def release(self, blocks: list[int]) -> None:
        """Return all of `blocks` to the pool; empties the list."""
        self._free.extend(reversed(blocks))
        blocks.clear()
        assert len(self._free) <= self.capacity
