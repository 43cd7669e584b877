"""Selection of the `Ops` backend, once at start."""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError
from engine.ops.base import Ops
from engine.ops.reference import ReferenceOps

logger = logging.getLogger(__name__)


class Heads(Protocol):
    """Sizes of the talker's attention."""

    @property
    def heads(self) -> int: ...

    @property
    def kv_heads(self) -> int: ...

    @property
    def head_dim(self) -> int: ...


class _Unfit(Exception):
    """Reason why an attention cannot be used."""


def choose(config: EngineConfig, talker: Heads, device: torch.device, dtype: torch.dtype) -> Ops:
    """Backend for a device.

    Plain PyTorch on a CPU; on a GPU fused kernels, with flash-attn where it is installed and takes the talker.
    Raises `CheckpointError` where an attention is selected by name and cannot be used.
    """
    if device.type != "cuda" or config.reference_ops:
        if config.attention != "auto":
            raise CheckpointError(f"attention {config.attention} is for fused operations on a GPU")
        return ReferenceOps()
    named = config.attention != "auto"
    for name in (config.attention,) if named else ATTENTIONS:
        try:
            return ATTENTIONS[name](config.block_size, talker, device, dtype)
        except _Unfit as reason:
            if named:
                raise CheckpointError(f"{name} cannot be used: {reason}") from reason
            logger.info("%s is not used: %s", name, reason)
    raise CheckpointError("no attention takes this checkpoint")


def _flash(block_size: int | None, talker: Heads, device: torch.device, dtype: torch.dtype) -> Ops:
    try:
        from engine.ops.flash_attn.ops import FlashOps
    except ImportError as error:
        raise _Unfit(error) from error
    if block_size is not None and block_size % FlashOps.block_size:
        raise _Unfit(f"blocks of {block_size} positions are not multiples of {FlashOps.block_size}")
    if dtype != torch.bfloat16:
        raise _Unfit(f"the model is {dtype}")
    if misfit := FlashOps.misfit(talker.heads, talker.kv_heads, talker.head_dim, device):
        raise _Unfit(f"it does not take {misfit}")
    return FlashOps()


def _triton(block_size: int | None, talker: Heads, device: torch.device, dtype: torch.dtype) -> Ops:
    from engine.ops.triton.ops import TritonOps  # Triton is there on GPU machines only

    return TritonOps()


# Best first: each imports its own when it is called, and raises `_Unfit`. The names are those of `config.Attention`.
ATTENTIONS: Mapping[str, Callable[[int | None, Heads, torch.device, torch.dtype], Ops]] = {
    "flash-attn": _flash,
    "triton": _triton,
}
