"""Devices, dtype of an engine, from its settings."""

import torch

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError


def choose_devices(config: EngineConfig) -> list[torch.device]:
    """Devices that share the talker, rank 0's first.

    Any number of ranks share a CPU.
    Raises `CheckpointError` for an absent device, and for another number than `tensor_parallel`.
    """
    names, ranks = config.device.split(","), config.tensor_parallel
    if names == ["cpu"]:
        names *= ranks
    if len(names) != ranks:
        raise CheckpointError(f"tensor parallel {ranks} takes {ranks} devices, not {config.device}")
    devices = [choose_device(name) for name in names]
    if len({device.type for device in devices}) > 1 or (devices[0].type == "cuda" and len(set(devices)) < ranks):
        raise CheckpointError(f"tensor parallel {ranks} takes different GPUs, or the CPU alone, not {config.device}")
    return devices


def choose_device(name: str) -> torch.device:
    """Device by name; "auto": first GPU, else CPU.

    Raises `CheckpointError` for an absent device, and for several.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("cuda:0" if name == "cuda" else name)
    except RuntimeError as error:
        raise CheckpointError(f"{name} is not one device") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise CheckpointError(f"there is no device {name}: {_devices()}")
    return device


def _devices() -> str:
    """Existing devices, for an error message."""
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    count = torch.cuda.device_count()
    return f"only cuda:0 to cuda:{count - 1}" if count else "no GPU, or no driver for it"


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Dtype by name; "auto": fp32 on a CPU, bf16 on a GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtype: torch.dtype = getattr(torch, name)
    return dtype
