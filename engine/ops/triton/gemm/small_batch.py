"""Matrix products of few rows.

A program holds its columns' weights whole before it waits for its input.
One to sixteen rows are multiplied by matrices that are read once, so the time is the time of reading them. A program
owns BN weight rows and all of K. K is cut into S slices that run side by side on the tensor cores, and their sums are
added at the end as a tree, ((0+4)+(2+6))+((1+5)+(3+7)): an order that no number of rows changes, and that
`large_batch_gemm` keeps. Sizes that the tiles do not divide are padded with zeros.
"""

import functools
from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.checkpoint.shard import SLICES as SLICES
from engine.ops.triton.launch import arrive, overlap, start

PIECE = 128  # K columns that a slice takes at a time: 256 bytes of a weight row
WIDE = 2048  # columns from which a norm takes half a piece, so that three programs share a processor


@functools.cache
def piece_of(width: int) -> int:
    """Columns of K that a slice takes at a time.

    The fewest zeros first, then the widest.
    """
    pieces = [PIECE >> i for i in range(4)]
    return min(pieces, key=lambda piece: (_padded(width, piece), -piece))


def norm_piece(width: int) -> int:
    """Columns of K a step, where rows are normed.

    One for all kernels, for it decides in which order squares are added.
    """
    return piece_of(width) if width < WIDE else min(piece_of(width), PIECE // 2)


def slice_width(width: int) -> int:
    """Columns of K a slice, padded with zeros.

    Where slices do not divide K.
    """
    return _padded(width, piece_of(width)) // SLICES


def _padded(width: int, piece: int) -> int:
    return -(-width // (SLICES * piece)) * SLICES * piece


@dataclass(frozen=True, slots=True)
class Slices:
    """Slices of K: number, width, columns of a piece.

    A piece divides them.
    """

    count: int
    width: int
    piece: int

    @classmethod
    def of(cls, width: int) -> "Slices":
        """All slices of a K."""
        return cls(SLICES, slice_width(width), piece_of(width))

    @classmethod
    def shared(cls, width: int, ranks: int) -> "Slices":
        """Slices of one of several peers.

        `width` is its part of K. A branch of the whole tree where slices were dealt out, so that the peers' sum is that
        of one device.
        """
        whole = cls.of(width * ranks)
        dealt = SLICES % ranks == 0 and whole.width * SLICES == width * ranks
        return replace(whole, count=SLICES // ranks) if dealt else cls.of(width)


@triton.jit
def take(at, inside, WHOLE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Load with zeros outside; WHOLE: nothing is outside."""
    if WHOLE:
        return tl.load(at)
    else:
        return tl.load(at, mask=inside, other=0.0)


@triton.jit
def swiglu(gate, up):  # type: ignore[no-untyped-def]
    """`silu(gate) * up`, each step rounded to the operands' dtype."""
    wide = gate.to(tl.float32)
    return (wide / (1.0 + tl.exp(-wide))).to(gate.dtype) * up


@triton.jit(do_not_specialize=["R"])
def _resident(
    x_ptr,  # (R, K)
    norm_ptr,  # (K,)
    w_ptr,  # (N, K); for SWIGLU (2 N, K), gate rows first
    residual_ptr,  # (R, N)
    out_ptr,  # (R, N)
    R,
    x_stride,
    eps,
    N: tl.constexpr,
    K: tl.constexpr,
    BR: tl.constexpr,
    BN: tl.constexpr,
    S: tl.constexpr,
    WIDTH: tl.constexpr,  # of a slice
    KS: tl.constexpr,
    NORM: tl.constexpr,
    SWIGLU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    PIECES: tl.constexpr = WIDTH // KS
    EVEN: tl.constexpr = S * WIDTH == K
    COLUMNS: tl.constexpr = 2 * N if SWIGLU else N
    WHOLE: tl.constexpr = EVEN and COLUMNS % BN == 0
    dtype = x_ptr.dtype.element_ty
    slices = tl.arange(0, S)[:, None, None] * WIDTH
    column = tl.program_id(0) * BN + tl.arange(0, BN)
    weight_row = (column % 2) * N + column // 2 if SWIGLU else column  # gate and up of one output side by side
    n = tl.program_id(0) * (BN // 2) + tl.arange(0, BN // 2) if SWIGLU else column
    line = slices + tl.arange(0, KS)[None, None, :]
    weight_at = w_ptr + weight_row[None, :, None] * K + line
    k = slices + tl.arange(0, KS)[None, :, None]
    weights, scales = (), ()
    for piece in tl.static_range(PIECES):
        # (S, BN, KS), parked in shared memory
        inside = (line + piece * KS < K) & (column < COLUMNS)[None, :, None]
        weights = weights + (take(weight_at + piece * KS, inside, WHOLE),)  # type: ignore[assignment]  # noqa: RUF005
        if NORM:
            # (S, KS, 1)
            scale = take(norm_ptr + k + piece * KS, k + piece * KS < K, EVEN)
            scales = scales + (scale,)  # type: ignore[assignment]  # noqa: RUF005
    arrive(OVERLAP)
    r = tl.arange(0, BR)
    at, keep = r[None, :] * N + n[:, None], r[None, :] < R
    if COLUMNS % BN > 0:
        keep = keep & (n < N)[:, None]
    if RESIDUAL:
        residual = tl.load(residual_ptr + at, mask=keep).to(tl.float32)
    x_at, is_row = x_ptr + r[None, None, :] * x_stride + k, r[None, None, :] < R
    if NORM:
        squares = tl.zeros((S, BR), tl.float32)
        for piece in tl.static_range(PIECES):
            inside = is_row if EVEN else is_row & (k + piece * KS < K)
            x = tl.load(x_at + piece * KS, mask=inside, other=0.0).to(tl.float32)
            squares += tl.sum(x * x, 1)
        rate = tl.rsqrt(tl.sum(squares, 0) / K + eps)[None, None, :]
    sums = tl.zeros((S, BN, BR), tl.float32)
    for piece in tl.static_range(PIECES):
        inside = is_row if EVEN else is_row & (k + piece * KS < K)
        x = tl.load(x_at + piece * KS, mask=inside, other=0.0)  # (S, KS, BR)
        if NORM:
            x = (x.to(tl.float32) * rate).to(dtype) * scales[piece]
        sums = tl.dot(weights[piece], x, sums)
    out = tl.sum(sums, 0)  # (BN, BR)
    if RESIDUAL:
        out += residual
    out = out.to(out_ptr.dtype.element_ty)
    if SWIGLU:
        gate, up = tl.split(tl.permute(tl.reshape(out, (BN // 2, 2, BR)), (0, 2, 1)))
        out = swiglu(gate, up)
    tl.store(out_ptr + at, out, mask=keep)


def small_batch_gemm(
    x: Tensor,
    weight: Tensor,
    norm: Tensor | None,
    residual: Tensor | None,
    gated: bool,
    eps: float,
    columns: int,
    piece: int,
    part: Slices | None = None,
) -> Tensor:
    """Product of few rows with a weight.

    x (R <= 16, K), weight (N, K) or, gated, (2 N, K) -> (R, N); fp32 where it is the `part` of one of several peers.
    A program owns `columns` weight rows and takes `piece` columns of K a slice at a time, `norm_piece` with a norm.
    """
    rows, width = x.shape
    outputs = len(weight) // 2 if gated else len(weight)
    out = x.new_empty(rows, outputs, dtype=x.dtype if part is None else torch.float32)
    slices = part or Slices.of(width)
    _resident[(triton.cdiv(len(weight), columns),)](
        x,
        norm,
        weight,
        residual,
        out,
        rows,
        x.stride(0),
        eps,
        N=outputs,
        K=width,
        BR=8 if rows <= 8 else 16,
        BN=columns,
        S=slices.count,
        WIDTH=slices.width,
        KS=piece if norm is None else norm_piece(width),
        NORM=norm is not None,
        SWIGLU=gated,
        RESIDUAL=residual is not None,
        num_warps=4,
        num_stages=1,
        **overlap(x.device),
    )
    return out
