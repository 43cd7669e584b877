"""Choice of matrix kernels, measured on an H100.

Rows up to `few` go to `small_batch_gemm`, which norms on the way; more rows are normed apart and go to
`large_batch_gemm`. Both add in one order, so the choice is of speed alone.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.ops.triton.gemm.large_batch import large_batch_gemm
from engine.ops.triton.gemm.small_batch import PIECE, SLICES, piece_of, slice_width, small_batch_gemm
from engine.ops.triton.rows import rms_norm


@dataclass(frozen=True, slots=True)
class Plan:
    """Launch parameters of the products with one weight.

    Weight rows a program of `small_batch_gemm` owns, the piece of K that it takes at a time, and the rows up to which
    it is the better kernel (at most 16); for `large_batch_gemm` the weight rows of a tile, the programs that share it,
    the chunks of weights it fetches ahead, columns of K a chunk, and the launch.
    """

    weight_rows: int = 16
    piece: int = PIECE
    few: int = 16
    tile: int = 64
    split: int = 1
    ahead: int = 0
    chunk: int = 128
    stages: int = 4
    warps: int = 4


# (weight rows, K)
PLANS: dict[tuple[int, int], Plan] = {
    (4096, 1024): Plan(weight_rows=32, split=2),
    (1024, 2048): Plan(split=8, ahead=2),
    (6144, 1024): Plan(weight_rows=32),
    (1024, 3072): Plan(split=8, ahead=3),
    (2048, 1024): Plan(weight_rows=32, split=2, ahead=4),
    (4096, 2048): Plan(weight_rows=32, few=8),
    (2048, 2048): Plan(weight_rows=32, split=4),
    # Half a piece, so that three programs share a processor: 18.9 us in a frame, with one program 21.7
    (12288, 2048): Plan(piece=64, few=8, tile=128, chunk=64, stages=5, warps=8),
    (2048, 6144): Plan(few=8, split=4),
    (3072, 2048): Plan(split=2),
}
MOST_RESIDENT = 16 * 6144  # weights that a program of `small_batch_gemm` holds in shared memory


def misfit(x: Tensor) -> str | None:
    """Dtype that the kernels do not take.

    They take all sizes.
    """
    return None if x.dtype in (torch.bfloat16, torch.float16) else f"{x.dtype}"


@functools.cache
def _plan(weights: int, width: int) -> Plan:
    """Plan for a weight (weights, width).

    As measured, or what is safe for a size without a measurement.
    """
    if (weights, width) in PLANS:
        return PLANS[weights, width]
    held, piece = 16 * SLICES * slice_width(width), piece_of(width)
    return Plan(piece=piece, few=16 if held <= MOST_RESIDENT else 0, chunk=piece)


def linear(
    x: Tensor,
    weight: Tensor,
    norm: Tensor | None = None,
    residual: Tensor | None = None,
    gated: bool = False,
    eps: float = 0.0,
) -> Tensor:
    """Matrix product, by the kernel for its rows.

    x (R, K), rows contiguous, any stride between them; weight (N, K), or (2 N, K) when gated by SwiGLU -> (R, N).
    """
    plan = _plan(*weight.shape)
    if len(x) <= plan.few:
        return small_batch_gemm(x, weight, norm, residual, gated, eps, plan.weight_rows, plan.piece)
    if norm is not None:
        x = rms_norm(x, norm, eps, plan.piece)
    return large_batch_gemm(
        x, weight, residual, gated, plan.tile, plan.split, plan.chunk, plan.stages, plan.warps, plan.ahead
    )
