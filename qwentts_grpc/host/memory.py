"""Collections at times that hold no step up.

Freed memory back to the system.
The allocator would keep it for the process's lifetime.
"""

import asyncio
import ctypes
import gc
import resource
from collections.abc import Callable
from pathlib import Path

PERIOD = 10.0  # seconds between two checks
GROWTH = 8 * 2**20  # bytes more than after the last trim, in each process of a server
URGENT = 256 * 2**20  # bytes after which a process that is never idle is trimmed too
YOUNG = (1_000, 5, 1_000_000)  # thresholds of collections: those of new objects stay under a millisecond, full ones
# would come often, for frozen objects do not count

_STATM = Path("/proc/self/statm")


def postpone_collections() -> None:
    """Leave full collections to `keep_small`.

    For a process that is a server and nothing else.
    """
    gc.set_threshold(*YOUNG)


def freeze_loaded() -> None:
    """Exempt what is loaded from collections.

    Scanning it delays a step for a tenth of a second.
    """
    gc.collect()
    gc.freeze()


async def keep_small(idle: Callable[[], bool]) -> None:
    """Collect, then trim the heap on a thread, after growth.

    Never return.
    A process that is not `idle` waits until it has grown by `URGENT`.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is None or not _STATM.exists():
        return
    least = resident()
    while True:
        await asyncio.sleep(PERIOD)
        if resident() > least + (GROWTH if idle() else URGENT):
            gc.collect()  # ended turns lie in cycles; the loaded model is frozen
            await asyncio.to_thread(trim, 0)
            least = resident()


def resident() -> int:
    """Resident bytes of this process."""
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()
