"""Folder of one server for sockets, counts, voices."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEMORY = Path("/dev/shm")  # a file system in memory, whose pages wait for no disk
PREFIX = "qwentts-server-"


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder that ends with the body; raises OSError.

    It is locked, so that what a killed server has left is known, and removed by the next one.
    """
    parent = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{PREFIX}", dir=parent) as new, _locked(Path(new)):
        folder = parent / Path(new).name[1:]
        os.rename(new, folder)  # nobody sees it without its lock
        try:
            yield folder
        finally:
            os.rename(folder, new)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock of a folder.

    Raises OSError where another process holds it.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)
