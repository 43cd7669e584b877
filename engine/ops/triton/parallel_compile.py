"""Compilation of kernels in several processes.

Threads of one interpreter compile little faster than one.
Triton calls a hook before it compiles a kernel. Here the hook waits until another process has written the kernel to
Triton's cache on disk, where Triton looks next. The processes get the GPU's kind, and never use it. They are this
module run as a program, not `multiprocessing`'s, which would run the main program's file once more in each.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from threading import Lock
from typing import Any

from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.cache import CacheManager, get_cache_manager

from engine.progress import Progress

logger = logging.getLogger(__name__)
MOST_PROCESSES = 16  # each holds an interpreter with PyTorch in memory
LIMIT = 120.0  # seconds that a kernel may take; afterwards it is compiled where it is needed
DONE = "compiled"  # a file in the cache: the kernel of that entry's name is there


@contextmanager
def compile_in_processes(progress: Progress) -> Iterator[None]:
    """Context in which other processes compile missing kernels.

    Launches on any thread that need such a kernel wait for them.
    """
    before, hook = knobs.runtime.jit_cache_hook, _Hook(min(len(os.sched_getaffinity(0)), MOST_PROCESSES), progress)
    knobs.runtime.jit_cache_hook = hook
    try:
        yield
    finally:
        knobs.runtime.jit_cache_hook = before
        hook.close()


class _Hook:
    """Triton's `jit_cache_hook`, called before a compilation.

    Returns True where it is not to be done here.
    """

    def __init__(self, processes: int, progress: Progress) -> None:
        self._progress = progress
        self._threads, self._lock = ThreadPoolExecutor(processes, "compile"), Lock()
        self._idle, self._workers = list[subprocess.Popen[str]](), list[subprocess.Popen[str]]()
        self._begun = dict[str, Future[None]]()

    def __call__(self, *, fn: Any, compile: dict[str, Any], **_about: Any) -> bool:
        kernel, target = fn.jit_function, driver.active.get_current_target()
        kind = target.backend, target.arch, target.warp_size
        order = json.dumps([*kind, fn.module, fn.name, compile["specialization_data"]])
        name = sha256(f"{kernel.cache_key} {order}".encode()).hexdigest()
        entry = get_cache_manager(name)
        if entry.has_file(DONE):
            return False
        with self._lock:
            if name not in self._begun:
                self._progress.expect()
                self._begun[name] = self._threads.submit(self._compile, order, entry)
        try:
            self._begun[name].result(LIMIT)
        except Exception as error:  # whatever it is, the launch that needs the kernel finds out for itself
            logger.warning("%s was not compiled by another process: %r", fn.name, error)
        return False

    def close(self) -> None:
        """End all processes, whatever they do."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            with worker:  # closes its pipes
                pass

    def _compile(self, order: str, entry: CacheManager) -> None:
        """Compile in a process; mark it done.

        Raises `OSError` without a process, `RuntimeError` if it failed.
        """
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = _start()
            self._workers.append(worker)
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(order + "\n")
        worker.stdin.flush()
        if not (answer := worker.stdout.readline()):
            raise RuntimeError("the process has ended")
        self._idle.append(worker)
        if answer.strip():
            raise RuntimeError(answer.strip())
        entry.put(b"", DONE)
        self._progress.advance()


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,  # what interrupts this process is for this one to handle
    )


class _Elsewhere:
    """Driver for a GPU that this process does not use.

    It has what a compilation needs.
    """

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0


def main() -> None:
    """Compile the kernels of standard input's lines to the cache.

    Prints a line for each: empty, or the error.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed meanwhile is no answer
    for line in sys.stdin:
        backend, arch, warp_size, module, name, specialization = json.loads(line)
        driver.set_active(_Elsewhere(GPUTarget(backend, arch, warp_size)))
        try:
            getattr(import_module(module), name).preload(specialization)
            print(file=answers, flush=True)
        except Exception as error:
            print(" ".join(repr(error).split()), file=answers, flush=True)


if __name__ == "__main__":
    main()
