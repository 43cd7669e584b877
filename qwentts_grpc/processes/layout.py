"""Processes of a server: how many fronts, which devices."""

import os
import subprocess
import sys
from pathlib import Path

from engine.api.errors import CheckpointError

FRONTS_A_GPU = 2
PROBE = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
PROBE_LIMIT = 60.0  # seconds


def layout(device: str, fronts: int | None, ranks: int = 1) -> tuple[int, tuple[str, ...]]:
    """Number of fronts, devices of the engine processes.

    `ranks` devices share an engine's talker; their names then have commas between.

    `device`: "auto", "all", or names with commas between. `fronts` None: none on a CPU, where one process has the
    whole machine, else `FRONTS_A_GPU` for each engine. 0 fronts is one process, for one engine.
    Raises `CheckpointError`.
    """
    devices = _shared(_devices(device, ranks), ranks)
    if fronts is None:
        fronts = (
            0 if devices == ("cpu",) else min(FRONTS_A_GPU * len(devices), max(1, len(os.sched_getaffinity(0)) // 2))
        )
    if fronts == 0 and len(devices) > 1:
        raise CheckpointError("several engines need --fronts 1 or more")
    return fronts, devices


def _shared(devices: tuple[str, ...], ranks: int) -> tuple[str, ...]:
    """Devices of each engine.

    Any number of ranks share a CPU.
    """
    if devices == ("cpu",):
        return devices
    if len(devices) % ranks:
        raise CheckpointError(f"--tensor-parallel {ranks}: {len(devices)} devices are no multiple of it")
    return tuple(",".join(devices[first : first + ranks]) for first in range(0, len(devices), ranks))


def _devices(device: str, ranks: int) -> tuple[str, ...]:
    match device:
        case "auto":
            return tuple(f"cuda:{number}" for number in range(ranks)) if _gpus() else ("cpu",)
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
