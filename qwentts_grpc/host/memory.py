"""Gives freed memory back to the system, which the allocator would keep for as long as the process lives."""

import asyncio
import ctypes
import gc
import resource
from pathlib import Path

PERIOD = 10.0  # seconds between two looks
GROWTH = 32 * 2**20  # bytes more than after the last time

_STATM = Path("/proc/self/statm")


async def keep_small() -> None:
    """Return never; trim the heap on a thread whenever the process has grown."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is None or not _STATM.exists():
        return
    least = resident()
    while True:
        await asyncio.sleep(PERIOD)
        if resident() > least + GROWTH:
            gc.collect()  # turns that have ended lie in cycles, and what was loaded is frozen
            await asyncio.to_thread(trim, 0)
            least = resident()


def resident() -> int:
    """Bytes of this process in memory."""
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()
