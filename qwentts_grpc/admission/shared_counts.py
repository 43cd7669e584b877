"""Counts in a memory-mapped file of one host."""

import hashlib
import mmap
import os
import struct
import tempfile
from collections import Counter
from functools import lru_cache
from pathlib import Path

from qwentts_grpc.admission.shared_table import WORDS, Key, Table, Writer

MAGIC = b"qwttscn1"
KEYS = 5  # of a tenant: calls, turns, turns of a model, recordings, the rate of its calls
SPREAD = 8  # slots for each tenant, so that searches end soon
CACHED_KEYS = 4_096

_HEADER = struct.Struct("<8sqq16s")  # magic, processes, slots, salt
_START = 64  # bytes before the tables, which begin and end with a cache line


class SharedCounts:
    """`Counts` of several processes, each with its table.

    A process writes its own table alone, so there is no lock that it could die with; sums are exact at the moment of
    reading. Two processes that read within the same microseconds do not see what the other is about to take.
    """

    @classmethod
    def create(cls, path: Path, processes: int, tenants: int = 1_024) -> "SharedCounts":
        """Make the file, for a supervisor; raises OSError.

        A file at `path` is replaced; processes that have it open keep the old one. It belongs on a tmpfs, where no page
        waits for a disk: 200 to 400 bytes for each tenant of each process. Tenants beyond `tenants` are counted in the
        totals alone.
        """
        slots = 1 << (SPREAD * max(tenants, SPREAD) - 1).bit_length()
        number, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        try:
            with open(number, "r+b") as file:
                os.posix_fallocate(number, 0, _size(processes, slots))  # a write that meets a full disk is a SIGBUS
                file.write(_HEADER.pack(MAGIC, processes, slots, os.urandom(16)))
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
        return cls(path)

    @classmethod
    def open(cls, path: Path, index: int) -> "SharedCounts":
        """Open for process `index`, which begins at zero.

        Raises OSError, ValueError.
        """
        return cls(path, index)

    def __init__(self, path: Path, index: int | None = None) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        processes, slots, self._salt = _read_header(self._memory)
        if index is not None and not 0 <= index < processes:
            raise ValueError(f"no process {index} among {processes}")
        self._words = memoryview(self._memory).cast("q")
        self._tables = [self._table(number, slots) for number in range(processes)]
        self._others = [table for number, table in enumerate(self._tables) if number != index]
        self._writer = None if index is None else Writer(self._tables[index], slots * KEYS // SPREAD)
        self._units: Counter[Key] = Counter()
        self._key = lru_cache(CACHED_KEYS)(self._hashed)

    def add(self, resource: str, tenant: str, units: int) -> None:
        """Count `units` more (signed) as held by this process."""
        self._add(self._key(resource, tenant), units, bounded=True)
        self._add(self._key(resource, None), units, bounded=False)

    def others(self, resource: str, tenant: str) -> int:
        """Units of a tenant held by other processes."""
        key = self._key(resource, tenant)
        return sum([table.get(key) for table in self._others])

    def others_total(self, resource: str) -> int:
        """Units of all tenants held by other processes."""
        key = self._key(resource, None)
        return sum([table.get(key) for table in self._others])

    def publish(self, resource: str, tenant: str, moment: int) -> None:
        """Publish a moment of this process, in nanoseconds.

        0 withdraws it.
        """
        self._own.put(self._key(resource, tenant), moment)

    def latest(self, resource: str, tenant: str) -> int:
        """Latest moment published by other processes; 0 for none."""
        key = self._key(resource, tenant)
        return max([table.get(key) for table in self._others], default=0)

    def clear(self, index: int) -> None:
        """Clear the counts of process `index`, once it has ended."""
        self._tables[index].clear()

    def close(self) -> None:
        """Unmap the file; nothing is counted afterwards."""
        for table in self._tables:
            table.release()
        self._words.release()
        self._memory.close()

    @property
    def _own(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("a supervisor holds nothing itself")
        return self._writer

    def _add(self, key: Key, units: int, bounded: bool) -> None:
        held = self._units.pop(key, 0) + units
        if held:
            self._units[key] = held
        self._own.put(key, held, bounded)

    def _hashed(self, resource: str, tenant: str | None) -> Key:
        """Two words of a name, salted; None for the total.

        The salt makes them unpredictable for callers, who choose the name.
        """
        name = resource if tenant is None else f"{resource}\0{tenant}"
        digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=16, key=self._salt).digest()
        first, second = struct.unpack("qq", digest)
        return first or 1, second

    def _table(self, number: int, slots: int) -> Table:
        begin = _size(number, slots) // 8
        return Table(self._words[begin : begin + slots * WORDS], slots)


def _size(processes: int, slots: int) -> int:
    return _START + processes * slots * WORDS * 8


def _read_header(memory: mmap.mmap) -> tuple[int, int, bytes]:
    """Processes, slots, salt; raises ValueError."""
    magic, processes, slots, salt = _HEADER.unpack(memory[: _HEADER.size].ljust(_HEADER.size))
    if magic != MAGIC or len(memory) != _size(processes, slots):
        raise ValueError("not a file of shared counts")
    return processes, slots, salt
