"""Overlap of kernels by programmatic dependent launch.

And what a card has room for.
Each may start before its predecessor ends, fetches what is constant, then waits for data.
Needs compute capability 9.0. The rule that keeps it sound: before `arrive` a
program writes nothing, and reads only what no kernel of this package writes since the last kernel of PyTorch or copy,
which nothing overtakes: weights, tables, parameters of rows. Elsewhere launches stay in order.
"""

import functools
import logging

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def start(OVERLAP: tl.constexpr):  # type: ignore[no-untyped-def]
    """Let the next kernel begin to fetch its constants."""
    if OVERLAP:
        gdc_launch_dependents()


@triton.jit
def arrive(OVERLAP: tl.constexpr):  # type: ignore[no-untyped-def]
    """Wait for the end of every earlier kernel.

    Its writes are visible then.
    """
    if OVERLAP:
        gdc_wait()


@triton.jit
def fetch(at, OVERLAP: tl.constexpr):  # type: ignore[no-untyped-def]
    """Prefetch of 128-byte lines to the second-level cache.

    `at`: their addresses; nothing waits for them.
    """
    if OVERLAP:
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
            "=r,l",
            [at.to(tl.int64)],
            dtype=tl.int32,
            is_pure=False,
            pack=1,
        )


logger = logging.getLogger(__name__)
MEASURED = (9, 0)  # the capability on which all tiles were measured, an H100's
SHARED_MEMORY = 232_448  # its bytes of shared memory a program


def overlap(device: torch.device) -> dict[str, bool]:
    """Keyword arguments of a launch on `device`.

    The kernel's OVERLAP and, where it is on, the launch attribute.
    """
    if capability(device) < (9, 0):
        return {"OVERLAP": False}
    return {"OVERLAP": True, "launch_pdl": True}


def capability(device: torch.device) -> tuple[int, int]:
    """Compute capability; (0, 0) for what is no GPU."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)


@functools.cache
def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a program may have.

    Tiles are cut down to it. The log says once where they are not those of the card.
    """
    if device.type != "cuda":
        return SHARED_MEMORY
    properties = torch.cuda.get_device_properties(device)
    size = int(properties.shared_memory_per_block_optin)  # type: ignore[attr-defined]
    if capability(device) != MEASURED:
        logger.info("no tiles were measured on %s: it takes an H100's, cut to %d KiB", properties.name, size >> 10)
    return size
