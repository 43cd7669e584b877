"""Kernels compiled by processes, since threads of one interpreter compile little faster than one.

Triton asks a hook before it compiles a kernel. Here the hook waits until another process has written the kernel to
Triton's cache on disk, where Triton looks next. The processes know the GPU's kind, and never use it.
"""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from multiprocessing import get_context
from threading import Lock
from typing import Any

from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.cache import get_cache_manager

logger = logging.getLogger(__name__)
MOST_PROCESSES = 16  # each holds an interpreter with PyTorch in memory
LIMIT = 120.0  # seconds that a kernel may take; afterwards it is compiled where it is needed
DONE = "compiled"  # a file in the cache: the kernel of that entry's name is there


@contextmanager
def compiling_elsewhere() -> Iterator[None]:
    """While this is open, launches on any thread that need kernels not in the cache wait for other processes."""
    before = knobs.runtime.jit_cache_hook
    processes = min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:  # it starts them when they are needed
        knobs.runtime.jit_cache_hook = _Hook(pool)
        try:
            yield
        finally:
            knobs.runtime.jit_cache_hook = before


class _Hook:
    """Triton's `jit_cache_hook`: called with what it is about to compile, it says whether that is not to be done."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool, self._lock, self._begun = pool, Lock(), dict[str, Future[None]]()
        self._target = driver.active.get_current_target()

    def __call__(self, *, fn: Any, compile: dict[str, Any], **_about: Any) -> bool:
        kernel, data = fn.jit_function, compile["specialization_data"]
        name = sha256(f"{self._target} {kernel.cache_key} {data}".encode()).hexdigest()
        entry = get_cache_manager(name)
        if entry.has_file(DONE):
            return False
        with self._lock:
            if name not in self._begun:
                self._begun[name] = self._pool.submit(_compile, self._target, fn.module, fn.name, data)
        try:
            self._begun[name].result(LIMIT)
            entry.put(b"", DONE)
        except Exception as error:  # whatever it is, the launch that needs the kernel finds out for itself
            logger.warning("%s was not compiled by another process: %r", fn.name, error)
        return False


class _Elsewhere:
    """What Triton asks of a driver in order to compile for a GPU that this process does not use."""

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0


def _compile(target: GPUTarget, module: str, name: str, data: str) -> None:
    """Write the kernel `name` of a module, specialised as `data` says, to the cache."""
    driver.set_active(_Elsewhere(target))
    getattr(import_module(module), name).preload(data)
