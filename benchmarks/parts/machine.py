"""The machine of a benchmark: versions, cores, GPU memory."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Set
from contextlib import contextmanager
from importlib import metadata

LIMIT = 30.0  # seconds for nvidia-smi
PACKAGES = ("torch", "triton", "grpcio", "numpy")


def describe() -> dict[str, str]:
    """Device, versions, as far as available."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "none"
    cores = f"{len(os.sched_getaffinity(0))} cores"
    return {"gpu": _ask("name") or "none", "driver": _ask("driver_version") or "none", "cpu": cores} | {
        "python": platform.python_version(),
        **versions,
    }


def gpu_memory() -> int | None:
    """MiB in use on the first GPU; None without one.

    By all processes.
    """
    answer = _ask("memory.used")
    return int(answer) if answer else None


def share_cores(gpus: int = 1) -> tuple[Set[int], Set[int]]:
    """Cores of the server, cores of the generator.

    The generator gets a quarter, at most four a GPU; disjoint where there are two.
    """
    cores = sorted(os.sched_getaffinity(0))
    own = min(4 * gpus, max(1, len(cores) // 4))
    return set(cores[:-own] or cores), set(cores[-own:])


@contextmanager
def pinned(cores: Set[int]) -> Iterator[None]:
    """Pin processes started during the body to `cores`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ask(field: str) -> str:
    """nvidia-smi's value for the first GPU, or ""."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    lines = answer.stdout.splitlines()
    return lines[0].strip() if answer.returncode == 0 and lines else ""
