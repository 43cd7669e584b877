"""Matrix products of many rows.

Tiles of weights and rows stream through shared memory, slice of K after slice.
The slices, and the order in which a tree adds them, are those of `small_batch_gemm`: a row has the same result in
either, bit for bit. Where columns are too few to occupy the device, SPLIT programs share a tile, each taking some
slices, and a second kernel adds their sums.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.triton.gemm.small_batch import slice_width, swiglu, take
from engine.ops.triton.launch import arrive, fetch, overlap, start


@triton.jit
def _offset(i, chunk, WIDTH: tl.constexpr, KC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where in K a chunk of the i-th slice begins: i's three bits are reversed, so that a stack of sums is a tree."""
    return (((i & 1) << 2) | (i & 2) | ((i >> 2) & 1)) * WIDTH + chunk * KC


@triton.jit(do_not_specialize=["R"])
def _streamed(
    x_ptr,  # (R, K)
    w_ptr,  # (N, K); for SWIGLU (2 N, K), gate rows first
    residual_ptr,  # (R, N)
    out_ptr,  # (R, N), or the parts (SPLIT, R, N) fp32
    R,
    x_stride,
    N: tl.constexpr,
    K: tl.constexpr,
    BR: tl.constexpr,
    BN: tl.constexpr,
    WIDTH: tl.constexpr,  # of a slice of K
    KC: tl.constexpr,
    SPLIT: tl.constexpr,
    AHEAD: tl.constexpr,  # chunks of weights fetched while earlier kernels run
    SWIGLU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    CHUNKS: tl.constexpr = WIDTH // KC
    EVEN: tl.constexpr = 8 * WIDTH == K
    COLUMNS: tl.constexpr = 2 * N if SWIGLU else N
    WHOLE: tl.constexpr = EVEN and COLUMNS % BN == 0
    OWN: tl.constexpr = 8 // SPLIT
    column = tl.program_id(0) * BN + tl.arange(0, BN)
    weight_row = (column % 2) * N + column // 2 if SWIGLU else column  # gate and up of one output side by side
    n = tl.program_id(0) * (BN // 2) + tl.arange(0, BN // 2) if SWIGLU else column
    first = tl.program_id(2) * OWN
    row_at = w_ptr + weight_row[:, None] * K
    for ahead in tl.static_range(AHEAD):
        line = _offset(first + ahead // CHUNKS, ahead % CHUNKS, WIDTH, KC) + tl.arange(0, KC // 64) * 64
        fetch(row_at + line[None, :], OVERLAP)
    arrive(OVERLAP)
    r = tl.program_id(1) * BR + tl.arange(0, BR)
    k = tl.arange(0, KC)
    weight_at = row_at + k[None, :]
    x_at, inside = x_ptr + r[None, :] * x_stride + k[:, None], r[None, :] < R
    sums = tl.zeros((BN, BR), tl.float32)
    pair, quad, total = sums, sums, sums
    for step in tl.range(0, OWN * CHUNKS):
        i = first + step // CHUNKS
        offset = _offset(i, step % CHUNKS, WIDTH, KC)
        weights = take(weight_at + offset, (offset + k < K)[None, :] & (column < COLUMNS)[:, None], WHOLE)
        x = tl.load(x_at + offset, mask=inside if EVEN else inside & (offset + k < K)[:, None], other=0.0)
        sums = tl.dot(weights, x, sums)
        if step % CHUNKS == CHUNKS - 1:
            pair = tl.where(i % 2 == 0, sums, pair + sums)
            if OWN > 1 and i % 2 == 1:
                quad = tl.where(i % 4 == 1, pair, quad + pair)
                if OWN > 2 and i % 4 == 3:
                    total = tl.where(i % 8 == 3, quad, total + quad)
            sums = tl.zeros((BN, BR), tl.float32)
    sums = pair if OWN == 1 else (quad if OWN == 2 else total)
    at, keep = r[None, :] * N + n[:, None], r[None, :] < R
    if COLUMNS % BN > 0:
        keep = keep & (n < N)[:, None]
    if SPLIT > 1:
        tl.store(out_ptr + tl.program_id(2).to(tl.int64) * R * N + at, sums, mask=keep)
    else:
        if RESIDUAL:
            sums += tl.load(residual_ptr + at, mask=keep).to(tl.float32)
        out = sums.to(x_ptr.dtype.element_ty)
        if SWIGLU:
            gate, up = tl.split(tl.permute(tl.reshape(out, (BN // 2, 2, BR)), (0, 2, 1)))
            out = swiglu(gate, up)
        tl.store(out_ptr + at, out, mask=keep)


@triton.jit
def _add(at, i, stride, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sum of parts i to i + COUNT - 1, as a tree."""
    if COUNT == 1:
        return tl.load(at + i * stride)
    else:
        return _add(at, i, stride, COUNT // 2) + _add(at, i + COUNT // 2, stride, COUNT // 2)


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
    out = _add(parts_ptr + at, 0, size, SPLIT)
    if RESIDUAL:
        out += tl.load(residual_ptr + at).to(tl.float32)
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty))


def large_batch_gemm(
    x: Tensor,
    weight: Tensor,
    residual: Tensor | None,
    gated: bool,
    columns: int,
    split: int,
    chunk: int,
    stages: int,
    warps: int,
    ahead: int,
) -> Tensor:
    """Product of many rows with a weight.

    x (R, K), weight (N, K) or, gated, (2 N, K) -> (R, N); tiles of `columns` weight rows.
    """
    rows, width = x.shape
    outputs = len(weight) // 2 if gated else len(weight)
    out = x.new_empty(rows, outputs)
    sums = out if split == 1 else torch.empty(split, rows, outputs, dtype=torch.float32, device=x.device)
    tall = 16 if rows <= 16 else 32 if rows <= 32 else 64
    launch = overlap(x.device)
    _streamed[(triton.cdiv(len(weight), columns), triton.cdiv(rows, tall), split)](
        x,
        weight,
        residual if split == 1 else None,
        sums,
        rows,
        x.stride(0),
        N=outputs,
        K=width,
        BR=tall,
        BN=columns,
        WIDTH=slice_width(width),
        KC=chunk,
        SPLIT=split,
        AHEAD=ahead,
        SWIGLU=gated,
        RESIDUAL=residual is not None and split == 1,
        num_warps=warps,
        num_stages=stages,
        **launch,
    )
    if split > 1:
        _finish[(out.numel() // 512,)](
            sums,
            residual,
            out,
            out.numel(),
            SPLIT=split,
            RESIDUAL=residual is not None,
            PIECE=512,
            num_warps=4,
            **launch,
        )
    return out
