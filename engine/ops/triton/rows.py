"""Operations on whole rows without products.

The norm by itself, and the sum of looked-up rows.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.triton.gemm.small_batch import SLICES, piece_of, slice_width, take
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
    """BR rows a program. Squares are added as in `small_batch_gemm`, which norms on its way, so that both agree."""
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
    x_at, out_at, is_row = x_ptr + r * x_stride + k, out_ptr + r * K + k, r < R
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


def rms_norm(x: Tensor, norm: Tensor, eps: float, piece: int | None = None) -> Tensor:
    """RMS norm of x (R, K) -> (R, K).

    Rows contiguous, any stride between them; `piece` as in `small_batch_gemm`.
    """
    rows, width = x.shape
    out = x.new_empty(rows, width)
    _rms_norm[(triton.cdiv(rows, 2),)](
        x,
        norm,
        out,
        rows,
        x.stride(0),
        eps,
        K=width,
        BR=2,
        S=SLICES,
        WIDTH=slice_width(width),
        KS=piece or piece_of(width),
        num_warps=4,
        **overlap(x.device),
    )
    return out


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
