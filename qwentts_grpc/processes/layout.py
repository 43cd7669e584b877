"""Processes of a server: how many fronts, which devices."""

import os
import subprocess
import sys
from pathlib import Path

from engine.api.errors import CheckpointError

FRONTS_A_GPU = 2
PROBE = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
PROBE_LIMIT = 60.0  # seconds


def layout(device: str, fronts: int | None) -> tuple[int, tuple[str, ...]]:
    """Number of fronts, devices of the engine processes.

    `device`: "auto", "all", or names with commas between. `fronts` None: none on a CPU, where one process has the
    whole machine, else `FRONTS_A_GPU` for each. 0 fronts is one process, for one device. Raises `CheckpointError`.
    """
    devices = _devices(device)
    if fronts is None:
        fronts = (
            0 if devices == ("cpu",) else min(FRONTS_A_GPU * len(devices), max(1, len(os.sched_getaffinity(0)) // 2))
        )
    if fronts == 0 and len(devices) > 1:
        raise CheckpointError("several devices need --fronts 1 or more")
    return fronts, devices


def _devices(device: str) -> tuple[str, ...]:
    match device:
        case "auto":
            return ("cuda:0",) if _gpus() else ("cpu",)
        case "all":
            if not (count := _gpus()):
                raise CheckpointError("--device all: there is no GPU, or no driver for it")
            return tuple(f"cuda:{number}" for number in range(count))
    return tuple("cuda:0" if name == "cuda" else name for name in device.split(","))


def _gpus() -> int:
    """GPUs that PyTorch finds.

    Asked of a process of its own, for its import takes memory.
    """
    if not Path("/dev/nvidiactl").exists():
        return 0
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=PROBE_LIMIT, check=False)
    return int(probe.stdout or 0)
