"""Returns freed memory to the system.

The allocator would keep it for the process's lifetime.
"""

import asyncio
import ctypes
import gc
import resource
from pathlib import Path

PERIOD = 10.0  # seconds between two checks
GROWTH = 32 * 2**20  # bytes more than after the last trim

_STATM = Path("/proc/self/statm")


async def keep_small() -> None:
    """Trim the heap on a thread after growth; never return."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is None or not _STATM.exists():
        return
    least = resident()
    while True:
        await asyncio.sleep(PERIOD)
        if resident() > least + GROWTH:
            gc.collect()  # ended turns lie in cycles; the loaded model is frozen
            await asyncio.to_thread(trim, 0)
            least = resident()


def resident() -> int:
    """Resident bytes of this process."""
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()
