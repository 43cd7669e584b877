"""Choice of matrix kernels, measured on an H100.

Rows up to `few` go to `small_batch_gemm`, which norms on the way; more rows are normed apart and go to
`large_batch_gemm`. Both add in one order, so the choice is of speed alone.
"""

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.ops.triton.gemm.large_batch import Tile, large_batch_gemm, tall_of
from engine.ops.triton.gemm.small_batch import PIECE, SLICES, Slices, piece_of, slice_width, small_batch_gemm
from engine.ops.triton.launch import shared_memory
from engine.ops.triton.rows import add_parts, finish, rms_norm

DEFAULT = Tile()


@dataclass(frozen=True, slots=True)
class Plan:
    """Launch parameters of the products with one weight.

    Weight rows a program of `small_batch_gemm` owns, the piece of K that it takes at a time, and the rows up to which
    it is the better kernel (at most 16); the tiles of `large_batch_gemm` by their rows.
    """

    weight_rows: int = 16
    piece: int = PIECE
    few: int = 16
    low: Tile = DEFAULT  # 16 or 32 rows
    high: Tile = DEFAULT  # 64


WIDE = Tile(128, chunk=64, warps=8, stages=5)
# (weight rows, K)
PLANS: dict[tuple[int, int], Plan] = {
    (4096, 1024): Plan(weight_rows=32, low=Tile(chunk=64, held=8), high=Tile(split=2)),
    (1024, 2048): Plan(low=Tile(split=4, held=4, normed=True), high=Tile(split=8, ahead=2)),
    (6144, 1024): Plan(weight_rows=32, low=Tile(chunk=64, held=4), high=Tile()),
    (1024, 3072): Plan(low=Tile(split=8, ahead=3, normed=True), high=Tile(split=8, ahead=3)),
    (2048, 1024): Plan(weight_rows=32, low=Tile(32, chunk=64, held=16), high=Tile(split=2, ahead=4)),
    (4096, 2048): Plan(weight_rows=32, few=8, low=Tile(split=2, held=4), high=Tile()),
    (2048, 2048): Plan(weight_rows=32, low=Tile(split=4), high=Tile(split=4)),
    # Three programs of `small_batch_gemm` share a processor: 18.9 us in a frame, with one program 21.7
    (12288, 2048): Plan(few=8, low=WIDE, high=WIDE),
    (2048, 6144): Plan(few=8, low=Tile(split=4), high=Tile(split=4)),
    (3072, 2048): Plan(low=Tile(split=2), high=Tile(split=2)),
}

# Of one of several peers, measured on an H200 for two: (weight rows, own K)
SHARED: dict[tuple[int, int], Plan] = {
    (2048, 1024): Plan(low=Tile(split=4, held=2), high=Tile(split=4)),
    (2048, 3072): Plan(few=8, low=Tile(split=4, ahead=2), high=Tile(split=4, ahead=2)),
    (2048, 512): Plan(low=Tile(32, split=2), high=Tile(32, split=2)),
    (2048, 1536): Plan(low=Tile(32, split=2), high=Tile(32, split=2)),
}


def misfit(x: Tensor) -> str | None:
    """Dtype that the kernels do not take.

    They take all sizes.
    """
    return None if x.dtype in (torch.bfloat16, torch.float16) else f"{x.dtype}"


@functools.cache
def _plan(weights: int, width: int, shared: int) -> Plan:
    """Plan for a weight (weights, width).

    `shared`: bytes of shared memory.
    As measured, or what is safe for a size without a measurement, cut to what fits.
    """
    tile = Tile(chunk=piece_of(width))
    return _fitted(PLANS.get((weights, width), Plan(piece=tile.chunk, low=tile, high=tile)), width, shared)


@functools.cache
def _shared_plan(weights: int, width: int, slices: Slices, shared: int) -> Plan:
    """As `_plan`, for the product of one of several peers."""
    tile = Tile(chunk=slices.piece, split=min(4, slices.count))
    return _fitted(SHARED.get((weights, width), Plan(piece=tile.chunk, low=tile, high=tile)), width, shared)


def _fitted(plan: Plan, width: int, shared: int) -> Plan:
    """What of a plan fits in shared memory."""
    few = next((few for few in (plan.few, 8, 0) if few <= plan.few and _resident_bytes(plan, width, few) <= shared), 0)
    low, high = plan.low.fitted(32, width, shared), plan.high.fitted(64, width, shared)
    return replace(plan, few=few, low=low, high=high)


def _resident_bytes(plan: Plan, width: int, rows: int) -> int:
    """Shared memory of `small_batch_gemm`, in bytes.

    Weights, and a piece of as many rows.
    """
    return 2 * SLICES * (plan.weight_rows * slice_width(width) + plan.piece * rows)


def linear(
    x: Tensor,
    weight: Tensor,
    norm: Tensor | None = None,
    gated: bool = False,
    eps: float = 0.0,
    normed: Tensor | None = None,
) -> Tensor:
    """Matrix product, by the kernel for its rows.

    x (R, K), rows contiguous, any stride between them; weight (N, K), or (2 N, K) when gated by SwiGLU -> (R, N).
    `normed`: x after `norm`, where it is there already.
    """
    plan = _plan(*weight.shape, shared_memory(x.device))
    if normed is not None:
        x, norm = normed, None
    if len(x) <= plan.few:
        return small_batch_gemm(x, weight, norm, None, gated, eps, plan.weight_rows, plan.piece)
    if norm is not None:
        x = rms_norm(x, norm, eps)
    tile = _tile(plan, len(x))
    if gated and tile.split > 1:  # measured with a weight of the same sizes without a gate
        tile = DEFAULT
    out = large_batch_gemm(x, weight, None, gated, tile)
    return out if tile.split == 1 else finish(out, x.dtype)


def linear_residual(
    x: Tensor, weight: Tensor, residual: Tensor, norm: Tensor, eps: float
) -> tuple[Tensor, Tensor | None]:
    """Matrix product plus `residual` (R, N).

    The RMS norm of the sum comes with it where rows are many; few are normed by the product that takes them.
    """
    plan = _plan(*weight.shape, shared_memory(x.device))
    if len(x) <= plan.few:
        return small_batch_gemm(x, weight, None, residual, False, 0.0, plan.weight_rows, plan.piece), None
    tile = _tile(plan, len(x))
    out = large_batch_gemm(x, weight, residual, False, tile)
    if tile.split == 1:
        return out, None
    return add_parts(out, residual, norm, eps) if tile.normed else (finish(out, x.dtype, residual), None)


def partial(x: Tensor, weight: Tensor, ranks: int) -> Tensor:
    """Part of a product with K dealt out.

    To `ranks` peers: (parts, R, N) fp32.
    """
    slices = Slices.shared(weight.shape[1], ranks)
    plan = _shared_plan(*weight.shape, slices, shared_memory(x.device))
    if len(x) <= plan.few:
        return small_batch_gemm(x, weight, None, None, False, 0.0, plan.weight_rows, plan.piece, slices)[None]
    return large_batch_gemm(x, weight, None, False, _tile(plan, len(x)), slices)


def _tile(plan: Plan, rows: int) -> Tile:
    return plan.high if tall_of(rows) > 32 else plan.low
