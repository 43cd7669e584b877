"""Matrix products of many rows.

Tiles of weights and rows stream through shared memory, slice of K after slice.
The slices, and the order in which a tree adds them, are those of `small_batch_gemm`: a row has the same result in
either, bit for bit. Where columns are too few to occupy the device, SPLIT programs share a tile, each taking some
slices, and a second kernel adds their sums (in `rows`).
"""

from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.triton.gemm.small_batch import Slices, slice_width, swiglu, take
from engine.ops.triton.launch import arrive, fetch, overlap, start


@triton.jit
def _offset(i, chunk, WIDTH: tl.constexpr, KC: tl.constexpr, SLICES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where in K a chunk of the i-th slice begins.

    The bits of i are reversed, so that a stack of sums is a tree.
    """
    number = i
    if SLICES == 8:
        number = ((i & 1) << 2) | (i & 2) | ((i >> 2) & 1)
    elif SLICES == 4:
        number = ((i & 1) << 1) | ((i >> 1) & 1)
    return number * WIDTH + chunk * KC


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
    SLICES: tl.constexpr,
    SPLIT: tl.constexpr,
    PART: tl.constexpr,
    AHEAD: tl.constexpr,  # chunks of weights fetched while earlier kernels run
    SWIGLU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    CHUNKS: tl.constexpr = WIDTH // KC
    EVEN: tl.constexpr = SLICES * WIDTH == K
    COLUMNS: tl.constexpr = 2 * N if SWIGLU else N
    WHOLE: tl.constexpr = EVEN and COLUMNS % BN == 0
    OWN: tl.constexpr = SLICES // SPLIT
    column = tl.program_id(0) * BN + tl.arange(0, BN)
    weight_row = (column % 2) * N + column // 2 if SWIGLU else column  # gate and up of one output side by side
    n = tl.program_id(0) * (BN // 2) + tl.arange(0, BN // 2) if SWIGLU else column
    first = tl.program_id(2) * OWN
    row_at = w_ptr + weight_row[:, None] * K
    for ahead in tl.static_range(AHEAD):
        line = _offset(first + ahead // CHUNKS, ahead % CHUNKS, WIDTH, KC, SLICES) + tl.arange(0, KC // 64) * 64
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
        offset = _offset(i, step % CHUNKS, WIDTH, KC, SLICES)
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
    store_product(sums, at, keep, x_ptr, residual_ptr, out_ptr, R, N, BN, BR, SPLIT, PART, SWIGLU, RESIDUAL)


@triton.jit(do_not_specialize=["R"])
def _held(
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
    SLICES: tl.constexpr,
    SPLIT: tl.constexpr,
    PART: tl.constexpr,
    DEPTH: tl.constexpr,  # chunks of rows that are loaded at a time
    SWIGLU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """As `_streamed`, with all weights taken before the input.

    A slice has two chunks or more: Triton would take the sum of two single products for one that begins with the other.
    """
    start(OVERLAP)
    CHUNKS: tl.constexpr = WIDTH // KC
    EVEN: tl.constexpr = SLICES * WIDTH == K
    COLUMNS: tl.constexpr = 2 * N if SWIGLU else N
    WHOLE: tl.constexpr = EVEN and COLUMNS % BN == 0
    OWN: tl.constexpr = SLICES // SPLIT
    column = tl.program_id(0) * BN + tl.arange(0, BN)
    weight_row = (column % 2) * N + column // 2 if SWIGLU else column
    n = tl.program_id(0) * (BN // 2) + tl.arange(0, BN // 2) if SWIGLU else column
    first = tl.program_id(2) * OWN
    r = tl.program_id(1) * BR + tl.arange(0, BR)
    k = tl.arange(0, KC)
    weight_at = w_ptr + weight_row[:, None] * K + k[None, :]
    weights = ()
    for step in tl.static_range(OWN * CHUNKS):
        offset = _offset(first + step // CHUNKS, step % CHUNKS, WIDTH, KC, SLICES)
        inside = (offset + k < K)[None, :] & (column < COLUMNS)[:, None]
        weights = weights + (take(weight_at + offset, inside, WHOLE),)  # type: ignore[assignment]  # noqa: RUF005
    arrive(OVERLAP)
    x_at, is_row = x_ptr + r[None, :] * x_stride + k[:, None], r[None, :] < R
    pair = tl.zeros((BN, BR), tl.float32)
    quad, total, sums = pair, pair, pair
    for step in tl.static_range(OWN * CHUNKS):
        if step % DEPTH == 0:
            rows = ()
            for next in tl.static_range(step, min(step + DEPTH, OWN * CHUNKS)):
                offset = _offset(first + next // CHUNKS, next % CHUNKS, WIDTH, KC, SLICES)
                inside = is_row if EVEN else is_row & (offset + k < K)[:, None]
                rows = rows + (tl.load(x_at + offset, mask=inside, other=0.0),)  # type: ignore[assignment]  # noqa: RUF005
        sums = tl.dot(weights[step], rows[step % DEPTH], sums)
        if step % CHUNKS == CHUNKS - 1:
            pair = sums if step // CHUNKS % 2 == 0 else pair + sums
            if step // CHUNKS % 2 == 1:
                quad = pair if step // CHUNKS % 4 == 1 else quad + pair
            if step // CHUNKS % 4 == 3:
                total = quad if step // CHUNKS == 3 else total + quad
            sums = tl.zeros((BN, BR), tl.float32)
    sums = pair if OWN == 1 else (quad if OWN == 2 else total)
    at, keep = r[None, :] * N + n[:, None], r[None, :] < R
    if COLUMNS % BN > 0:
        keep = keep & (n < N)[:, None]
    store_product(sums, at, keep, x_ptr, residual_ptr, out_ptr, R, N, BN, BR, SPLIT, PART, SWIGLU, RESIDUAL)


@triton.jit
def store_product(
    sums,
    at,
    keep,
    x_ptr,
    residual_ptr,
    out_ptr,
    R,
    N: tl.constexpr,
    BN: tl.constexpr,
    BR: tl.constexpr,
    SPLIT: tl.constexpr,
    PART: tl.constexpr,
    SWIGLU: tl.constexpr,
    RESIDUAL: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Store a tile's sums (BN, BR).

    As a part of (SPLIT, R, N), or rounded, with residual or gate.
    """
    if SPLIT > 1 or PART:
        tl.store(out_ptr + tl.program_id(2).to(tl.int64) * R * N + at, sums, mask=keep)
    else:
        if RESIDUAL:
            sums += tl.load(residual_ptr + at, mask=keep).to(tl.float32)
        out = sums.to(x_ptr.dtype.element_ty)
        if SWIGLU:
            gate, up = tl.split(tl.permute(tl.reshape(out, (BN // 2, 2, BR)), (0, 2, 1)))
            out = swiglu(gate, up)
        tl.store(out_ptr + at, out, mask=keep)


@dataclass(frozen=True, slots=True)
class Tile:
    """Launch of a product.

    The weight rows of a tile, the programs that share it, the columns of K a chunk, warps. `held`: the programs take
    their weights whole before their input, then load so many chunks of it at a time; 0: both stream, in `stages`, with
    `ahead` chunks of weights fetched before. `normed`: whoever adds the programs' parts norms the sum too.
    """

    columns: int = 64
    split: int = 1
    chunk: int = 128
    warps: int = 4
    held: int = 0
    stages: int = 4
    ahead: int = 0
    normed: bool = False

    def fitted(self, tall: int, width: int, shared: int) -> "Tile":
        """Tile that `shared` bytes hold.

        As it is, or streamed, of fewer stages, or of fewer columns.
        For `tall` rows and weights of `width` columns.
        """
        if self._bytes(tall, width) <= shared:
            return self
        if self.held:
            return replace(self, held=0).fitted(tall, width, shared)
        if self.stages > 2:
            return replace(self, stages=self.stages - 1).fitted(tall, width, shared)
        return replace(self, columns=self.columns // 2).fitted(tall, width, shared)

    def _bytes(self, tall: int, width: int) -> int:
        """Bytes of shared memory for weights, rows of 16 bits."""
        if self.held:
            return 2 * (self.columns * 8 * slice_width(width) // self.split + self.held * self.chunk * tall)
        return 2 * self.stages * self.chunk * (self.columns + tall)


def large_batch_gemm(
    x: Tensor, weight: Tensor, residual: Tensor | None, gated: bool, tile: Tile, part: Slices | None = None
) -> Tensor:
    """Product of many rows with a weight.

    x (R, K), weight (N, K) or, gated, (2 N, K) -> (R, N), or, where programs share a tile, its parts (split, R, N) fp32
    without the residual, for `rows.finish` or `rows.add_parts`; so too where it is the `part` of one of several peers.
    """
    rows, width = x.shape
    outputs = len(weight) // 2 if gated else len(weight)
    slices = part or Slices.of(width)
    if tile.split > 1 or part is not None:
        out = torch.empty(tile.split, rows, outputs, dtype=torch.float32, device=x.device)
    else:
        out = x.new_empty(rows, outputs)
    tall = tall_of(rows)
    ways = {"DEPTH": tile.held, "num_stages": 1} if tile.held else {"AHEAD": tile.ahead, "num_stages": tile.stages}
    kernel = _held if tile.held else _streamed
    kernel[(triton.cdiv(len(weight), tile.columns), triton.cdiv(rows, tall), tile.split)](
        x,
        weight,
        residual if tile.split == 1 else None,
        out,
        rows,
        x.stride(0),
        N=outputs,
        K=width,
        BR=tall,
        BN=tile.columns,
        WIDTH=slices.width,
        KC=tile.chunk,
        SLICES=slices.count,
        SPLIT=tile.split,
        PART=part is not None,
        SWIGLU=gated,
        RESIDUAL=residual is not None and tile.split == 1,
        num_warps=tile.warps,
        **ways,
        **overlap(x.device),
    )
    return out


def tall_of(rows: int) -> int:
    """Rows of a tile."""
    return 16 if rows <= 16 else 32 if rows <= 32 else 64
