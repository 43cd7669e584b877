"""Operations on whole rows without products.

The norm by itself, the sum of a product's parts, and the sum of looked-up rows.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.triton.gemm.small_batch import SLICES, norm_piece, slice_width, take
from engine.ops.triton.launch import arrive, overlap, start


@triton.jit(do_not_specialize=["R"])
def _rms_norm(
    x_ptr,  # (R, K)
    norm_ptr,  # (K,)
    out_ptr,  # (R, K)
    R,
    x_stride,
    eps,
    K: tl.constexpr,
    BR: tl.constexpr,
    S: tl.constexpr,
    WIDTH: tl.constexpr,  # of a slice
    KS: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """RMS norm of BR rows a program.

    Squares are added as in `small_batch_gemm`, which norms on its way, so that both agree.
    """
    start(OVERLAP)
    PIECES: tl.constexpr = WIDTH // KS
    EVEN: tl.constexpr = S * WIDTH == K
    k = tl.arange(0, S)[:, None, None] * WIDTH + tl.arange(0, KS)[None, :, None]
    scales = ()
    for piece in tl.static_range(PIECES):
        # (S, KS, 1)
        scale = take(norm_ptr + k + piece * KS, k + piece * KS < K, EVEN)
        scales = scales + (scale,)  # type: ignore[assignment]  # noqa: RUF005
    arrive(OVERLAP)
    r = (tl.program_id(0) * BR + tl.arange(0, BR))[None, None, :]
    norm_rows(x_ptr + r * x_stride + k, out_ptr + r * K + k, scales, k, r < R, eps, K, S, BR, PIECES, KS)


@triton.jit
def norm_rows(
    x_at,  # (S, KS, BR)
    out_at,
    scales,
    k,
    is_row,
    eps,
    K: tl.constexpr,
    S: tl.constexpr,
    BR: tl.constexpr,
    PIECES: tl.constexpr,
    KS: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """RMS norm of a tile, by `scales` of each piece."""
    EVEN: tl.constexpr = S * PIECES * KS == K
    squares = tl.zeros((S, BR), tl.float32)
    for piece in tl.static_range(PIECES):
        inside = is_row if EVEN else is_row & (k + piece * KS < K)
        x = tl.load(x_at + piece * KS, mask=inside, other=0.0).to(tl.float32)
        squares += tl.sum(x * x, 1)
    rate = tl.rsqrt(tl.sum(squares, 0) / K + eps)[None, None, :]
    for piece in tl.static_range(PIECES):
        inside = is_row if EVEN else is_row & (k + piece * KS < K)
        x = tl.load(x_at + piece * KS, mask=inside, other=0.0)
        tl.store(out_at + piece * KS, (x.to(tl.float32) * rate).to(x.dtype) * scales[piece], mask=inside)


@triton.jit
def add_up(at, inside, i, stride, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sum of COUNT parts from i on, as a tree."""
    if COUNT == 1:
        return tl.load(at + i * stride, mask=inside, other=0.0)
    else:
        return add_up(at, inside, i, stride, COUNT // 2) + add_up(at, inside, i + COUNT // 2, stride, COUNT // 2)


@triton.jit
def _add_parts(
    parts_ptr,  # (SPLIT, R, N) fp32
    residual_ptr,  # (R, N)
    norm_ptr,  # (N,)
    out_ptr,  # (R, N)
    normed_ptr,  # (R, N)
    eps,
    N: tl.constexpr,
    BR: tl.constexpr,
    S: tl.constexpr,
    WIDTH: tl.constexpr,  # of a slice
    KS: tl.constexpr,
    SPLIT: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Sum of a row's parts, with its norm.

    A row a program, normed as it is read again, in a tile of `_rms_norm`, so that squares are added in its order.
    """
    start(OVERLAP)
    PIECES: tl.constexpr = WIDTH // KS
    EVEN: tl.constexpr = S * WIDTH == N
    k = tl.arange(0, S)[:, None, None] * WIDTH + tl.arange(0, KS)[None, :, None]
    scales = ()
    for piece in tl.static_range(PIECES):
        scale = take(norm_ptr + k + piece * KS, k + piece * KS < N, EVEN)
        scales = scales + (scale,)  # type: ignore[assignment]  # noqa: RUF005
    arrive(OVERLAP)
    row = tl.program_id(0).to(tl.int64) * N
    stride = tl.num_programs(0).to(tl.int64) * N
    for piece in tl.static_range(PIECES):
        at, inside = row + k + piece * KS, k + piece * KS < N
        out = add_up(parts_ptr + at, inside, 0, stride, SPLIT)
        out += tl.load(residual_ptr + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask=inside)
    tl.debug_barrier()
    r = tl.arange(0, BR)[None, None, :]  # the first is the row, the others fill the tile
    at = row + r * 0 + k
    norm_rows(out_ptr + at, normed_ptr + at, scales, k, r < 1, eps, N, S, BR, PIECES, KS)


@triton.jit(do_not_specialize=["size"])
def _finish(
    parts_ptr,  # (SPLIT, size) fp32
    residual_ptr,  # (size,)
    out_ptr,  # (size,)
    size,
    SPLIT: tl.constexpr,
    RESIDUAL: tl.constexpr,
    PIECE: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    arrive(OVERLAP)
    at = tl.program_id(0) * PIECE + tl.arange(0, PIECE)
    out = add_up(parts_ptr + at, at < size, 0, size, SPLIT)
    if RESIDUAL:
        out += tl.load(residual_ptr + at, mask=at < size, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask=at < size)


@triton.jit
def _embed(
    table_ptr,  # (T, K)
    ids_ptr,  # (R, C) int64
    text_ptr,  # (R, K)
    out_ptr,  # (R, K)
    K: tl.constexpr,
    C: tl.constexpr,
    PART: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    arrive(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * PART + tl.arange(0, PART)
    inside = k < K
    total = tl.zeros((PART,), tl.float32)
    for c in tl.static_range(C):
        at = tl.load(ids_ptr + row * C + c) * K
        total += tl.load(table_ptr + at + k, mask=inside, other=0.0).to(tl.float32)
    text = tl.load(text_ptr + row * K + k, mask=inside, other=0.0)
    summed = total.to(text.dtype).to(tl.float32) + text.to(tl.float32)
    tl.store(out_ptr + row * K + k, summed.to(text.dtype), mask=inside)


def misfit(x: Tensor) -> str | None:
    """Dtype that `rms_norm` does not take."""
    return None if x.dtype in (torch.bfloat16, torch.float16) else f"{x.dtype}"


def rms_norm(x: Tensor, norm: Tensor, eps: float) -> Tensor:
    """RMS norm of x (R, K) -> (R, K).

    Rows contiguous, any stride between them.
    """
    rows, width = x.shape
    out = x.new_empty(rows, width)
    each = max(2, rows_of(width))
    _rms_norm[(triton.cdiv(rows, each),)](
        x,
        norm,
        out,
        rows,
        x.stride(0),
        eps,
        K=width,
        BR=each,
        S=SLICES,
        WIDTH=slice_width(width),
        KS=norm_piece(width),
        num_warps=4,
        **overlap(x.device),
    )
    return out


def add_parts(parts: Tensor, residual: Tensor, norm: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Sum of a product's parts, with its RMS norm.

    Parts (split, R, N), `residual` (R, N), `norm` (N,).
    """
    split, rows, width = parts.shape
    out, normed = torch.empty_like(residual), torch.empty_like(residual)
    _add_parts[(rows,)](
        parts,
        residual,
        norm,
        out,
        normed,
        eps,
        N=width,
        BR=rows_of(width),
        S=SLICES,
        WIDTH=slice_width(width),
        KS=norm_piece(width),
        SPLIT=split,
        num_warps=4,
        **overlap(parts.device),
    )
    return out, normed


def finish(parts: Tensor, dtype: torch.dtype, residual: Tensor | None = None) -> Tensor:
    """Sum of a product's parts, in `dtype`.

    Parts (split, R, N), `residual` (R, N) if any.
    """
    out = torch.empty(parts.shape[1:], dtype=dtype, device=parts.device)
    _finish[(triton.cdiv(out.numel(), 512),)](
        parts,
        residual,
        out,
        out.numel(),
        SPLIT=len(parts),
        RESIDUAL=residual is not None,
        PIECE=512,
        num_warps=4,
        **overlap(parts.device),
    )
    return out


def rows_of(width: int) -> int:
    """Rows of a tile that is normed.

    Enough for every thread of four warps to have eight values.
    Where it had fewer, as Triton deals them out, squares would be added in another order than in `small_batch_gemm`.
    """
    return max(1, 1024 // (SLICES * norm_piece(width)))


def embed(table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
    """`text + sum of table rows` -> (R, K).

    table (T, K), ids (R, C), text (R, K).
    """
    rows, count = ids.shape
    width = table.shape[1]
    out = torch.empty_like(text)
    grid = (rows, triton.cdiv(width, 512))
    _embed[grid](table, ids, text, out, K=width, C=count, PART=512, num_warps=2, **overlap(text.device))
    return out
