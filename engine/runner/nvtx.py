"""NVTX ranges of a step's stages, for profilers; nothing without CUDA."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

NONE: AbstractContextManager[None] = nullcontext()


def stage(name: str) -> AbstractContextManager[None]:
    """A range on the calling thread; half a microsecond where no profiler listens."""
    return torch.cuda.nvtx.range(name) if _available() else NONE


@cache
def _available() -> bool:
    return torch.cuda.is_available()
