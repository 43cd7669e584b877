"""Skinny matrix products: a program fetches its columns' weights whole before it waits for its few rows of input.

Decoding multiplies 1 to 64 rows by matrices that are read once, so the time is the time of reading them. Each program
owns BN columns and all of K: no sum crosses programs, so nothing is atomic and a row's result does not depend on how
many rows there are. Inside a program K is cut into S slices that run side by side on the tensor cores; their partial
sums are added at the end in an order that the compiler fixes.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.triton.launch import arrive, fetch, overlap, start

PIECE = 128  # K columns that one slice takes at a time: 256 bytes of a weight row
SLICES = 8
FETCHED = 8 << 20  # bytes of the next weights asked for ahead: what memory delivers while a product adds up
MOST_ROWS = 64  # above this the product is no longer a matter of reading weights


@dataclass(frozen=True, slots=True)
class Tiling:
    """Weight rows a program owns and its warps."""

    columns: int
    warps: int = 4


# (weight rows, K): measured on an H100; `DEFAULT` covers other sizes.
TILINGS: dict[tuple[int, ...], Tiling] = {
    (4096, 1024): Tiling(32),
    (6144, 1024): Tiling(32),
    (2048, 1024): Tiling(32),
    (4096, 2048): Tiling(32),
    (2048, 2048): Tiling(32),
    (12288, 2048): Tiling(32),
}
DEFAULT = Tiling(16)


@triton.jit(do_not_specialize=["R"])
def _linear(
    x_ptr,  # (R, K)
    norm_ptr,  # (K,)
    w_ptr,  # (N, K); for SWIGLU (2 N, K), gate rows first
    residual_ptr,  # (R, N)
    out_ptr,  # (R, N)
    next_ptr,  # the weights of the product after this one
    R,
    x_stride,
    eps,
    N: tl.constexpr,
    K: tl.constexpr,
    MANY: tl.constexpr,  # more rows than one tile holds
    BR: tl.constexpr,
    BN: tl.constexpr,
    S: tl.constexpr,
    KS: tl.constexpr,
    NORM: tl.constexpr,
    SWIGLU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    LINES: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    PIECES: tl.constexpr = K // (S * KS)
    dtype = x_ptr.dtype.element_ty
    slices = tl.arange(0, S)[:, None, None] * (K // S)
    column = tl.program_id(0) * BN + tl.arange(0, BN)
    weight_row = (column % 2) * N + column // 2 if SWIGLU else column  # gate and up of one output side by side
    n = tl.program_id(0) * (BN // 2) + tl.arange(0, BN // 2) if SWIGLU else column
    weight_at = w_ptr + weight_row[None, :, None] * K + slices + tl.arange(0, KS)[None, None, :]
    k = slices + tl.arange(0, KS)[None, :, None]
    weights, scales = (), ()
    for piece in tl.static_range(PIECES):
        weights = weights + (tl.load(weight_at + piece * KS),)  # (S, BN, KS), parked in shared memory
        if NORM:
            scales = scales + (tl.load(norm_ptr + k + piece * KS),)  # (S, KS, 1)
    fetch(next_ptr, LINES)
    arrive(OVERLAP)
    for tile in tl.range(tl.cdiv(R, BR) if MANY else 1):
        r = tile * BR + tl.arange(0, BR)
        at, keep = r[None, :] * N + n[:, None], r[None, :] < R
        if RESIDUAL:
            residual = tl.load(residual_ptr + at, mask=keep)
        x_at, inside = x_ptr + r[None, None, :] * x_stride + k, r[None, None, :] < R
        if NORM:
            squares = tl.zeros((S, BR), tl.float32)
            for piece in tl.static_range(PIECES):
                x = tl.load(x_at + piece * KS, mask=inside, other=0.0).to(tl.float32)
                squares += tl.sum(x * x, 1)
            rate = tl.rsqrt(tl.sum(squares, 0) / K + eps)[None, None, :]
        sums = tl.zeros((S, BN, BR), tl.float32)
        for piece in tl.static_range(PIECES):
            x = tl.load(x_at + piece * KS, mask=inside, other=0.0)  # (S, KS, BR)
            if NORM:
                x = (x.to(tl.float32) * rate).to(dtype) * scales[piece]
            sums = tl.dot(weights[piece], x, sums)
        out = tl.sum(sums, 0).to(dtype)  # (BN, BR)
        if SWIGLU:
            gate, up = tl.split(tl.permute(tl.reshape(out, (BN // 2, 2, BR)), (0, 2, 1)))
            wide = gate.to(tl.float32)
            out = (wide / (1.0 + tl.exp(-wide))).to(dtype) * up
        if RESIDUAL:
            out += residual
        tl.store(out_ptr + at, out, mask=keep)


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel takes this product: few rows of a narrow type and sizes that its tiles divide."""
    rows, width = weight.shape
    return x.dtype in (torch.bfloat16, torch.float16) and len(x) <= MOST_ROWS and width % (SLICES * PIECE) == 0 and rows % 128 == 0


def _lines(weight: Tensor, programs: int) -> int:
    """Lines of 128 bytes of `weight` that each program may fetch ahead: a power of two."""
    most = min(weight.numel() * weight.element_size(), FETCHED) // (128 * programs)
    return 1 << (most.bit_length() - 1) if most else 0


class Succession:
    """Which weights were multiplied after which, learned from the calls: a frame repeats them in the same order."""

    def __init__(self) -> None:
        self._next: dict[int, Tensor | None] = {}
        self._last: Tensor | None = None

    def after(self, weight: Tensor) -> Tensor | None:
        """What followed `weight` the last times; None where that differed, or is not known yet."""
        if self._last is not None:
            known = self._next.setdefault(self._last.data_ptr(), weight)
            if known is not None and known.data_ptr() != weight.data_ptr():
                self._next[self._last.data_ptr()] = None
        self._last = weight
        return self._next.get(weight.data_ptr())


def linear(
    x: Tensor,
    weight: Tensor,
    norm: Tensor | None = None,
    residual: Tensor | None = None,
    swiglu: bool = False,
    eps: float = 0.0,
    following: Tensor | None = None,
) -> Tensor:
    """x (R, K), rows contiguous, any stride between them; weight (N, K), or (2 N, K) with swiglu -> (R, N)."""
    rows, width = x.shape
    columns = len(weight) // 2 if swiglu else len(weight)
    out = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    tiling = TILINGS.get(tuple(weight.shape), DEFAULT)
    tall = 8 if rows <= 8 else 16
    programs = len(weight) // tiling.columns
    launch = overlap(x.device)
    _linear[(programs,)](
        x,
        norm,
        weight,
        residual,
        out,
        following,
        rows,
        x.stride(0),
        eps,
        N=columns,
        K=width,
        MANY=rows > tall,
        BR=tall,
        BN=tiling.columns,
        S=SLICES,
        KS=PIECE,
        NORM=norm is not None,
        SWIGLU=swiglu,
        RESIDUAL=residual is not None,
        LINES=_lines(following, programs) if following is not None and launch["OVERLAP"] else 0,
        num_warps=tiling.warps,
        num_stages=1,
        **launch,
    )
    return out
