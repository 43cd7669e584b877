"""`Peers` over each other's memory.

A rank stores its part of a sum straight into the memory of all others, then a flag behind it; each adds all parts in
one order, so that all hold the same bits. A flag holds the number of the exchange, which every rank counts by itself.
There are two buffers in turn: a rank that has heard of an exchange from all others knows that they are through with the
one before.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.triton.gemm.small_batch import SLICES, norm_piece, slice_width, take
from engine.ops.triton.launch import arrive, overlap, start
from engine.ops.triton.rows import add_up, norm_rows, rows_of

PIECE = 1024  # words of a broadcast that a program moves
WORD = 4  # bytes


@triton.jit
def _raise_flag(at, number):  # type: ignore[no-untyped-def]
    """Store `number` at the address `at` of any rank.

    It comes behind all that the program has stored.
    """
    tl.debug_barrier()
    tl.inline_asm_elementwise(
        """
        {
            .reg .pred first;
            .reg .u32 thread;
            mov.u32 thread, %tid.x;
            setp.eq.u32 first, thread, 0;
            @first st.release.sys.global.u32 [$1], $2;
            mov.u32 $0, 0;
        }
        """,
        "=r,l,r",
        [at, number],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


@triton.jit
def _await_flag(at, number):  # type: ignore[no-untyped-def]
    """Wait until `number` is at the address `at`.

    After 20 seconds the kernel fails, so the device does.
    """
    tl.inline_asm_elementwise(
        """
        {
            .reg .pred done, late;
            .reg .u32 seen;
            .reg .u64 began, now;
            mov.u64 began, %globaltimer;
        look:
            ld.acquire.sys.global.u32 seen, [$1];
            setp.eq.u32 done, seen, $2;
            @done bra heard;
            mov.u64 now, %globaltimer;
            sub.u64 now, now, began;
            setp.gt.u64 late, now, 20000000000;
            @late trap;
            bra look;
        heard:
            mov.u32 $0, seen;
        }
        """,
        "=r,l,r",
        [at, number],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )
    tl.debug_barrier()


@triton.jit
def _tree(at, inside, i, step: tl.constexpr, MOST, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sum of COUNT ranks' parts, from i on, every `step`-th.

    As the tree of slices: (0+2)+(1+3).
    """
    if COUNT == 1:
        return tl.load(at + i * MOST, mask=inside, other=0.0, cache_modifier=".cg")
    elif COUNT % 2 == 0:
        even = _tree(at, inside, i, 2 * step, MOST, COUNT // 2)
        return even + _tree(at, inside, i + step, 2 * step, MOST, COUNT // 2)
    else:
        most = _tree(at, inside, i, step, MOST, COUNT - 1)
        return most + _tree(at, inside, i + (COUNT - 1) * step, step, MOST, 1)


@triton.jit(do_not_specialize=["live"])
def _reduce(
    parts_ptr,  # (SPLIT, R, N) fp32
    residual_ptr,  # (R, N)
    norm_ptr,  # (N,)
    out_ptr,  # (R, N)
    normed_ptr,  # (R, N)
    data_ptr,  # (RANKS,) addresses of the ranks' parts (RANKS, MOST) fp32
    flags_ptr,  # (RANKS,) addresses of the ranks' flags (rows, RANKS)
    counts_ptr,  # (rows,) exchanges so far
    live,  # 0: nothing is exchanged
    eps,
    MOST,
    N: tl.constexpr,
    BR: tl.constexpr,
    S: tl.constexpr,
    WIDTH: tl.constexpr,  # of a slice
    KS: tl.constexpr,
    SPLIT: tl.constexpr,
    RANKS: tl.constexpr,
    RANK: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """A row a program, as in `rows._add_parts`."""
    start(OVERLAP)
    PIECES: tl.constexpr = WIDTH // KS
    EVEN: tl.constexpr = S * WIDTH == N
    k = tl.arange(0, S)[:, None, None] * WIDTH + tl.arange(0, KS)[None, :, None]
    scales = ()
    for piece in tl.static_range(PIECES):
        scale = take(norm_ptr + k + piece * KS, k + piece * KS < N, EVEN)
        scales = scales + (scale,)  # type: ignore[assignment]  # noqa: RUF005
    data, flags = (), ()
    for rank in tl.static_range(RANKS):
        at = tl.load(data_ptr + rank).to(tl.pointer_type(tl.float32))
        data = data + (tl.multiple_of(at, 16),)  # type: ignore[assignment]  # noqa: RUF005
        flags = flags + (tl.load(flags_ptr + rank),)  # type: ignore[assignment]  # noqa: RUF005
    arrive(OVERLAP)
    line = tl.program_id(0)
    row = line.to(tl.int64) * N
    stride = tl.num_programs(0).to(tl.int64) * N
    number = tl.load(counts_ptr + line) + 1
    # All loads before any store: a load does not overtake one.
    own, residual = (), ()
    for piece in tl.static_range(PIECES):
        at, inside = row + k + piece * KS, k + piece * KS < N
        own = own + (add_up(parts_ptr + at, inside, 0, stride, SPLIT),)  # type: ignore[assignment]  # noqa: RUF005
        old = tl.load(residual_ptr + at, mask=inside, other=0.0).to(tl.float32)
        residual = residual + (old,)  # type: ignore[assignment]  # noqa: RUF005
    for step in tl.static_range(1, RANKS + 1):  # own memory last, which is near
        for piece in tl.static_range(PIECES):
            inside = k + piece * KS < N
            if step < RANKS:
                inside = inside & (live > 0)
            tl.store(data[(RANK + step) % RANKS] + RANK * MOST + (row + k + piece * KS), own[piece], mask=inside)
    if live > 0:
        for rank in tl.static_range(RANKS):
            if rank != RANK:
                _raise_flag(flags[rank] + (line * RANKS + RANK) * 4, number)
        for rank in tl.static_range(RANKS):
            if rank != RANK:
                _await_flag(flags[RANK] + (line * RANKS + rank) * 4, number)
        tl.store(counts_ptr + line, number)
    tl.debug_barrier()
    sums = ()
    for piece in tl.static_range(PIECES):
        total = _tree(data[RANK] + (row + k + piece * KS), k + piece * KS < N, 0, 1, MOST, RANKS)
        sums = sums + (total + residual[piece],)  # type: ignore[assignment]  # noqa: RUF005
    for piece in tl.static_range(PIECES):
        inside = k + piece * KS < N
        tl.store(out_ptr + (row + k + piece * KS), sums[piece].to(out_ptr.dtype.element_ty), mask=inside)
    tl.debug_barrier()
    r = tl.arange(0, BR)[None, None, :]  # the first is the row, the others fill the tile
    at = row + r * 0 + k
    norm_rows(out_ptr + at, normed_ptr + at, scales, k, r < 1, eps, N, S, BR, PIECES, KS)


@triton.jit(do_not_specialize=["live"])
def _broadcast(
    x_ptr,  # (words,)
    data_ptr,  # (RANKS,) addresses of the ranks' copies (MOST,)
    flags_ptr,  # (RANKS,) addresses of the ranks' flags (programs,)
    counts_ptr,  # (programs,) exchanges so far
    live,  # 0: nothing is exchanged
    words,
    PIECE: tl.constexpr,
    RANKS: tl.constexpr,
    RANK: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """PIECE words a program, from rank 0 to all others."""
    start(OVERLAP)
    arrive(OVERLAP)
    if live > 0:
        program = tl.program_id(0)
        at = program * PIECE + tl.arange(0, PIECE)
        number = tl.load(counts_ptr + program) + 1
        if RANK == 0:
            x = tl.load(x_ptr + at, mask=at < words)
            for rank in tl.static_range(1, RANKS):
                data = tl.multiple_of(tl.load(data_ptr + rank).to(tl.pointer_type(tl.int32)), 16)
                tl.store(data + at, x, mask=at < words)
            for rank in tl.static_range(1, RANKS):
                _raise_flag(tl.load(flags_ptr + rank) + program * 4, number)
        else:
            _await_flag(tl.load(flags_ptr + RANK) + program * 4, number)
            mine = tl.multiple_of(tl.load(data_ptr + RANK).to(tl.pointer_type(tl.int32)), 16)
            tl.store(x_ptr + at, tl.load(mine + at, mask=at < words, cache_modifier=".cg"), mask=at < words)
        tl.debug_barrier()
        tl.store(counts_ptr + program, number)


class Buffer(NamedTuple):
    """One of two buffers.

    The ranks' addresses of data, those of flags (RANKS,), own counts.
    """

    data: Tensor
    flags: Tensor
    counts: Tensor


class SymmetricPeers:
    """`Peers` whose GPUs write to each other's memory.

    Their memory is kept for the life of the process.
    """

    def __init__(
        self, rank: int, ranks: int, device: torch.device, rows: int, width: int, share: Callable[[int], Sequence[int]]
    ) -> None:
        """`rows` of `width` words: the most of one exchange.

        `share` makes so many zeroed bytes, and tells the addresses of all ranks' ones (`shared_memory`).
        """
        self.ranks = ranks
        self._rank, self._live, self._most = rank, 0, rows * width
        pieces = triton.cdiv(self._most, PIECE)
        sizes = [(ranks * self._most, rows * ranks, rows)] * 2 + [(self._most, pieces, pieces)] * 2
        words = [_aligned(size) for data, flags, _ in sizes for size in (data, flags)]
        bases = share(WORD * sum(words))
        places = [
            torch.tensor([base + WORD * sum(words[:i]) for base in bases], device=device) for i in range(len(words))
        ]
        buffers = [
            Buffer(places[2 * i], places[2 * i + 1], torch.zeros(counts, dtype=torch.int32, device=device))
            for i, (*_, counts) in enumerate(sizes)
        ]
        self._sums, self._copies = buffers[:2], buffers[2:]
        self._turn = self._copied = 0

    def open(self) -> None:
        self._live, self._turn, self._copied = 1, 0, 0

    def broadcast(self, x: Tensor) -> None:
        words = x.view(torch.int32)
        buffer, self._copied = self._copies[self._copied], 1 - self._copied
        _broadcast[(triton.cdiv(words.numel(), PIECE),)](
            words,
            buffer.data,
            buffer.flags,
            buffer.counts,
            self._live,
            words.numel(),
            PIECE=PIECE,
            RANKS=self.ranks,
            RANK=self._rank,
            num_warps=4,
            **overlap(x.device),
        )

    def reduce(self, parts: Tensor, residual: Tensor, norm: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        split, rows, width = parts.shape
        out, normed = torch.empty_like(residual), torch.empty_like(residual)
        buffer, self._turn = self._sums[self._turn], 1 - self._turn
        _reduce[(rows,)](
            parts,
            residual,
            norm,
            out,
            normed,
            buffer.data,
            buffer.flags,
            buffer.counts,
            self._live,
            eps,
            self._most,
            N=width,
            BR=rows_of(width),
            S=SLICES,
            WIDTH=slice_width(width),
            KS=norm_piece(width),
            SPLIT=split,
            RANKS=self.ranks,
            RANK=self._rank,
            num_warps=4,
            **overlap(parts.device),
        )
        return out, normed


def _aligned(words: int) -> int:
    return -(-words // 64) * 64
