"""The checkpoint that comes with the package: a tiny custom-voice model with random weights, which speaks in noise."""

import contextlib
import os
from pathlib import Path

from engine.dummy import write_checkpoint

_KIND = "0.6B-CustomVoice"
_VERSION = "noise-3"  # names the folder: a change of the weights is a change of this


def embedded_checkpoint() -> Path:
    """Folder of the embedded checkpoint, written into the user's cache on first use.

    Processes may race for it: each writes its own copy, and the first rename wins. Raises OSError if the cache
    cannot be written.
    """
    path = _cache() / f"qwentts-embedded-{_VERSION}"
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another process was quicker
            write_checkpoint(path, _KIND, seed=8, eos_scale=1.8)  # ends soon after its text
    return path


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "qwentts-grpc"
