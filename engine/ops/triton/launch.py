"""Overlap of kernels by programmatic dependent launch.

Each may start before its predecessor ends, fetches what is constant, then waits for data.
Needs compute capability 9.0. The rule that keeps it sound: before `arrive` a
program writes nothing, and reads only what no kernel of this package writes since the last kernel of PyTorch or copy,
which nothing overtakes: weights, tables, parameters of rows. Elsewhere launches stay in order.
"""

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
    """Wait until every earlier kernel has ended and its writes are visible."""
    if OVERLAP:
        gdc_wait()


@triton.jit
def fetch(at, OVERLAP: tl.constexpr):  # type: ignore[no-untyped-def]
    """Have the 128-byte lines at addresses `at` brought to the second-level cache; nothing waits for them."""
    if OVERLAP:
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
            "=r,l",
            [at.to(tl.int64)],
            dtype=tl.int32,
            is_pure=False,
            pack=1,
        )


def overlap(device: torch.device) -> dict[str, bool]:
    """Keyword arguments of a launch on `device`.

    The kernel's OVERLAP and, where it is on, the launch attribute.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (9, 0):
        return {"OVERLAP": False}
    return {"OVERLAP": True, "launch_pdl": True}
