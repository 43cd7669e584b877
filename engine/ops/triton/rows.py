"""Operations on whole rows that multiply nothing: the norm by itself and the sum of looked-up rows."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.triton.launch import arrive, overlap, start


@triton.jit
def _rms_norm(x_ptr, norm_ptr, out_ptr, x_stride, eps, K: tl.constexpr, PAD: tl.constexpr, OVERLAP: tl.constexpr):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    k = tl.arange(0, PAD)
    norm = tl.load(norm_ptr + k, mask=k < K, other=0.0)
    arrive(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    x = tl.load(x_ptr + row * x_stride + k, mask=k < K, other=0.0)
    wide = x.to(tl.float32)
    rate = tl.rsqrt(tl.sum(wide * wide, 0) / K + eps)
    tl.store(out_ptr + row * K + k, (wide * rate).to(x.dtype) * norm, mask=k < K)


@triton.jit
def _embed(
    table_ptr,  # (T, K)
    ids_ptr,  # (R, C) int64
    text_ptr,  # (R, K)
    out_ptr,  # (R, K)
    K: tl.constexpr,
    C: tl.constexpr,
    PIECE: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    arrive(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    inside = k < K
    total = tl.zeros((PIECE,), tl.float32)
    for c in tl.static_range(C):
        at = tl.load(ids_ptr + row * C + c) * K
        total += tl.load(table_ptr + at + k, mask=inside, other=0.0).to(tl.float32)
    text = tl.load(text_ptr + row * K + k, mask=inside, other=0.0)
    summed = total.to(text.dtype).to(tl.float32) + text.to(tl.float32)
    tl.store(out_ptr + row * K + k, summed.to(text.dtype), mask=inside)


def rms_norm(x: Tensor, norm: Tensor, eps: float) -> Tensor:
    """x (R, K), rows contiguous, any stride between them -> (R, K)."""
    rows, width = x.shape
    out = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    pad = triton.next_power_of_2(width)
    _rms_norm[(rows,)](x, norm, out, x.stride(0), eps, K=width, PAD=pad, num_warps=4, **overlap(x.device))
    return out


def embed(table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
    """`text + sum of table rows`: table (T, K), ids (R, C), text (R, K) -> (R, K)."""
    rows, count = ids.shape
    width = table.shape[1]
    out = torch.empty_like(text)
    grid = (rows, triton.cdiv(width, 512))
    _embed[grid](table, ids, text, out, K=width, C=count, PIECE=512, num_warps=2, **overlap(text.device))
    return out
