"""Fused language-model kernels against the definition: error tables, and rows that do not feel their neighbours."""

import os

import pytest
import torch
from torch import Tensor

from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Rope, SamplingTensors
from engine.ops.reference import ReferenceOps

pytest.importorskip("triton")
from engine.ops.triton.ops import TritonOps

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not (torch.cuda.is_available() or INTERPRETED), reason="needs a CUDA device"),
]
DEVICE = "cpu" if INTERPRETED else "cuda"
HALF = torch.float16 if INTERPRETED else torch.bfloat16  # the interpreter knows no bf16 arithmetic
HEADS, GROUPS, WIDTH = 16, 8, 128
ROWS = (1, 5, 8, 16, 24, 33, 64, 80) if not INTERPRETED else (3, 17)
# name, outputs, K: what the talker and the predictor of the 1.7B models multiply
PRODUCTS = [
    ("norm_linear", 4096, 2048),
    ("linear_residual", 2048, 2048),
    ("norm_swiglu", 6144, 2048),
    ("linear_residual", 2048, 6144),
    ("linear", 3072, 2048),
    ("norm_linear", 4096, 1024),
    ("linear_residual", 1024, 2048),
    ("norm_swiglu", 3072, 1024),
    ("linear_residual", 1024, 3072),
    ("linear", 2048, 1024),
]
if INTERPRETED:
    PRODUCTS = [(name, 128, width) for name, _, width in PRODUCTS[:5]]

reference, fused = ReferenceOps(), TritonOps()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def normal(*shape: int, scale: float = 1.0, dtype: torch.dtype = HALF) -> Tensor:
    return (torch.randn(shape, device=DEVICE) * scale).to(dtype)


def error(out: Tensor, exact: Tensor) -> float:
    return float((out.double() - exact.double()).norm() / exact.double().norm())


def product(ops: ReferenceOps, name: str, given: tuple[Tensor | float, ...]) -> Tensor:
    """The result, without the norm that may come with it."""
    made: Tensor | tuple[Tensor, Tensor | None] = getattr(ops, name)(*given)
    return made if isinstance(made, Tensor) else made[0]


def report(name: str, ours: float, theirs: float) -> None:
    print(f"{name:<44} fused {ours:.2e}  reference {theirs:.2e}")
    assert ours <= 1.25 * theirs + 1e-4, name


def operands(name: str, rows: int, columns: int, width: int) -> tuple[Tensor | float, ...]:
    x, norm = normal(rows, width), normal(width)
    weight = normal(2 * columns if name == "norm_swiglu" else columns, width, scale=width**-0.5)
    match name:
        case "linear":
            return x, weight
        case "linear_residual":
            return x, weight, normal(rows, columns), normal(columns), 1e-6
        case _:
            return x, norm, weight, 1e-6


@pytest.mark.parametrize(("name", "columns", "width"), PRODUCTS)
def test_products_are_as_exact_as_the_reference(name: str, columns: int, width: int) -> None:
    for rows in ROWS:
        given = operands(name, rows, columns, width)
        truth = product(reference, name, tuple(v.double() if isinstance(v, Tensor) else v for v in given))
        ours, theirs = product(fused, name, given), product(reference, name, given)
        report(f"{name} {rows} x {width} -> {columns}", error(ours, truth), error(theirs, truth))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter multiplies with a library that minds the shape")
@pytest.mark.parametrize(("name", "columns", "width"), PRODUCTS)
def test_a_row_does_not_feel_its_neighbours(name: str, columns: int, width: int) -> None:
    given = operands(name, ROWS[-1], columns, width)
    together = product(fused, name, given)
    for rows in ROWS:
        few = [value[:rows] if isinstance(value, Tensor) and len(value) == ROWS[-1] else value for value in given]
        assert torch.equal(product(fused, name, tuple(few)), together[:rows]), rows


@pytest.mark.skipif(INTERPRETED, reason="the interpreter adds in another order")
@pytest.mark.parametrize(("name", "columns", "width"), [each for each in PRODUCTS if each[0] == "linear_residual"])
def test_a_norm_that_comes_with_a_sum_is_the_norm(name: str, columns: int, width: int) -> None:
    """The same bits, whether rows are normed with the sum before, by themselves, or by the product that takes them."""
    taker, eps = normal(4096, columns, scale=columns**-0.5), 1e-6
    for rows in ROWS:
        x, weight, residual, norm = (normal(*s) for s in ((rows, width), (columns, width), (rows, columns), (columns,)))
        summed, normed = fused.linear_residual(x, weight, residual, norm, eps)
        alone = fused.rms_norm(summed, norm, eps)
        taken = fused.norm_linear(summed, norm, taker, eps)
        assert torch.equal(taken, fused.linear(alone, taker))
        if normed is not None:
            assert torch.equal(normed, alone)
            assert torch.equal(taken, fused.norm_linear(summed, norm, taker, eps, normed))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter adds in another order")
@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("width", [2048, 6144])
def test_parts_of_several_ranks_add_to_the_bits_of_one(ranks: int, width: int) -> None:
    for rows in ROWS:
        x, weight, residual, norm, eps = operands("linear_residual", rows, 2048, width)
        assert isinstance(x, Tensor) and isinstance(weight, Tensor) and isinstance(residual, Tensor)
        parts = [
            halved(fused.partial_linear(dealt(x, rank, ranks), dealt(weight, rank, ranks), ranks))
            for rank in range(ranks)
        ]
        whole = product(fused, "linear_residual", (x, weight, residual, norm, eps))
        assert torch.equal((alternating(parts) + residual.float()).to(HALF), whole), rows


def dealt(x: Tensor, rank: int, ranks: int) -> Tensor:
    """Columns of one rank: each `ranks`-th slice."""
    return torch.cat(x.chunk(8, 1)[rank::ranks], 1)


def halved(parts: Tensor) -> Tensor:
    """Sum of a rank's parts, as programs that share a tile have cut them."""
    half = len(parts) // 2
    return halved(parts[:half]) + halved(parts[half:]) if half else parts[0]


def alternating(parts: list[Tensor]) -> Tensor:
    """Sum over the ranks, as the tree of slices has it."""
    return alternating(parts[::2]) + alternating(parts[1::2]) if len(parts) > 1 else parts[0]


def heads_and_rope(positions: int) -> tuple[HeadNorms, Rope]:
    angles = torch.arange(positions, device=DEVICE)[:, None] / 1e6 ** (torch.arange(0, WIDTH, 2, device=DEVICE) / WIDTH)
    angles = torch.cat((angles, angles), -1)
    return HeadNorms(normal(WIDTH), normal(WIDTH), 1e-6), Rope(angles.cos().to(HALF), angles.sin().to(HALF))


def widened(norms: HeadNorms, rope: Rope, cache: LayerCache) -> tuple[HeadNorms, Rope, LayerCache]:
    return (
        HeadNorms(norms.query.double(), norms.key.double(), norms.eps),
        Rope(rope.cos.double(), rope.sin.double()),
        LayerCache(cache.keys.double(), cache.values.double()),
    )


def paged(lengths: list[int], block: int) -> tuple[LayerCache, AttentionMetadata]:
    """A filled cache of blocks of `block` positions in a shuffled table, and rows at the ends of `lengths`."""
    most = -(-max(lengths) // block)
    blocks = 1 + len(lengths) * most
    cache = LayerCache(normal(blocks, block, GROUPS, WIDTH), normal(blocks, block, GROUPS, WIDTH))
    table = (1 + torch.randperm(blocks - 1, device=DEVICE)).view(len(lengths), most).to(torch.int32)
    slots = torch.randperm(len(lengths), device=DEVICE)
    rows = torch.stack((slots, torch.tensor(lengths, device=DEVICE) - 1), 1)  # columns of a table, as in a step
    return cache, AttentionMetadata(table, rows[:, 0], rows[:, 1])


def copied(cache: LayerCache) -> LayerCache:
    return LayerCache(cache.keys.clone(), cache.values.clone())


def flash_ops() -> TritonOps:
    if INTERPRETED:
        pytest.skip("flash-attn needs a CUDA device")
    pytest.importorskip("flash_attn")
    from engine.ops.flash_attn.ops import FlashOps

    return FlashOps()


@pytest.fixture(params=["triton", "flash-attn"])
def paged_ops(request: pytest.FixtureRequest) -> TritonOps:
    """Every implementation of paged attention that is installed."""
    return fused if request.param == "triton" else flash_ops()


LENGTHS = [1, 2, 17, 64, 65, 130, 300, 700] if not INTERPRETED else [1, 64, 65, 200]


def test_decode_attention(paged_ops: TritonOps) -> None:
    cache, metadata = paged(LENGTHS, paged_ops.block_size)
    norms, rope = heads_and_rope(1024)
    qkv = normal(len(LENGTHS), (HEADS + 2 * GROUPS) * WIDTH)
    norms_wide, rope_wide, cache_wide = widened(norms, rope, cache)
    ours, theirs = copied(cache), copied(cache)
    truth = reference.paged_decode(qkv.double(), norms_wide, rope_wide, cache_wide, metadata)
    out = paged_ops.paged_decode(qkv, norms, rope, ours, metadata)
    plain = reference.paged_decode(qkv, norms, rope, theirs, metadata)
    report(f"decode_attention {paged_ops.attention}", error(out, truth), error(plain, truth))
    assert error(ours.keys, theirs.keys) < 2e-3
    assert torch.equal(ours.values, theirs.values)
    assert torch.equal(out, paged_ops.paged_decode(qkv, norms, rope, ours, metadata))
    for row in range(len(LENGTHS)):
        own = AttentionMetadata(metadata.block_table, metadata.slots[row : row + 1], metadata.positions[row : row + 1])
        alone = paged_ops.paged_decode(qkv[row : row + 1], norms, rope, ours, own)
        assert torch.equal(alone[0], out[row])


def test_prefill_attention(paged_ops: TritonOps) -> None:
    cache, filled = paged([300, 300, 300], paged_ops.block_size)
    norms, rope = heads_and_rope(512)
    slots = torch.tensor([1] * 13 + [0] * 10 + [2] * 4, device=DEVICE)
    positions = torch.cat((torch.arange(50, 63), torch.arange(252, 262), torch.arange(4))).to(DEVICE)
    qkv = normal(len(slots), (HEADS + 2 * GROUPS) * WIDTH)
    norms_wide, rope_wide, cache_wide = widened(norms, rope, cache)
    ours, theirs = copied(cache), copied(cache)
    metadata = AttentionMetadata(filled.block_table, slots, positions)
    truth = reference.paged_prefill(qkv.double(), norms_wide, rope_wide, cache_wide, metadata)
    out = paged_ops.paged_prefill(qkv, norms, rope, ours, metadata)
    plain = reference.paged_prefill(qkv, norms, rope, theirs, metadata)
    report(f"prefill_attention {paged_ops.attention}", error(out, truth), error(plain, truth))
    assert error(ours.keys, theirs.keys) < 2e-3
    assert torch.equal(ours.values, theirs.values)


@pytest.mark.skipif(INTERPRETED, reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["paged_decode", "paged_prefill"])
def test_attention_is_captured(paged_ops: TritonOps, name: str) -> None:
    """A graph follows what the tables hold when it is replayed, not when it was captured."""
    cache, filled = paged([300] * 4, paged_ops.block_size)
    norms, rope = heads_and_rope(512)
    qkv = normal(4, (HEADS + 2 * GROUPS) * WIDTH)
    slots, positions = filled.slots.clone(), filled.positions.clone()

    def attend() -> Tensor:
        metadata = AttentionMetadata(filled.block_table, slots, positions)
        return getattr(paged_ops, name)(qkv, norms, rope, cache, metadata)  # type: ignore[no-any-return]

    attend()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = attend()
    for rows, at in (([0, 1, 2, 3], [5, 299, 0, 64]), ([3, 3, 3, 1], [7, 8, 9, 280])):
        slots.copy_(torch.tensor(rows))
        positions.copy_(torch.tensor(at))
        graph.replay()
        replayed = out.clone()
        assert torch.equal(replayed, attend())


@pytest.mark.parametrize(("start", "steps"), [(0, 2), (2, 1), (15, 1)])
def test_short_attention(start: int, steps: int) -> None:
    rows = 3
    cache = LayerCache(normal(rows, 16, GROUPS, WIDTH), normal(rows, 16, GROUPS, WIDTH))
    norms, rope = heads_and_rope(16)
    qkv = normal(rows, steps, (HEADS + 2 * GROUPS) * WIDTH)
    norms_wide, rope_wide, cache_wide = widened(norms, rope, cache)
    ours, theirs = copied(cache), copied(cache)
    truth = reference.dense_attention(qkv.double(), norms_wide, rope_wide, cache_wide, start)
    out = fused.dense_attention(qkv, norms, rope, ours, start)
    plain = reference.dense_attention(qkv, norms, rope, theirs, start)
    report(f"short_attention {start}+{steps}", error(out, truth), error(plain, truth))
    assert error(ours.keys, theirs.keys) < 2e-3
    assert torch.equal(ours.values, theirs.values)


def test_rows() -> None:
    x, norm = normal(5, 2048), normal(2048)
    assert error(fused.rms_norm(x, norm, 1e-6), reference.rms_norm(x, norm, 1e-6)) < 2e-3
    table, ids, text = normal(300, 2048), torch.randint(300, (5, 16), device=DEVICE), normal(5, 2048)
    assert error(fused.embed(table, ids, text), reference.embed(table, ids, text)) < 2e-3


def test_uniforms_are_the_same_numbers() -> None:
    seeds = torch.tensor([0, 1, -1, 1 << 62, 0x1234_5678_9ABC_DEF0], device=DEVICE)
    frames = torch.tensor([[0, 1, 77, 8191, 3]] * 2, device=DEVICE).T[:, 0]
    assert torch.equal(fused.uniforms(seeds, frames, 16), reference.uniforms(seeds, frames, 16))


def picks(rows: int, **fixed: float) -> SamplingTensors:
    def column(name: str, other: Tensor) -> Tensor:
        return torch.full_like(other, fixed[name]) if name in fixed else other

    return SamplingTensors(
        column("temperature", torch.rand(rows, device=DEVICE) + 0.3),
        column("top_k", torch.randint(1, 80, (rows,), device=DEVICE, dtype=torch.int32)),
        column("top_p", torch.rand(rows, device=DEVICE) * 0.6 + 0.4),
        torch.rand(rows, 3, device=DEVICE)[:, 1],
    )


@pytest.mark.parametrize("dtype", [HALF, torch.float32])
@pytest.mark.parametrize(
    "fixed",
    [{"temperature": 0.0}, {"top_k": 0, "top_p": 1.0}, {"top_k": 1}, {"top_k": 50, "top_p": 1.0}, {"top_k": 0}, {}],
    ids=str,
)
def test_sample(fixed: dict[str, float], dtype: torch.dtype) -> None:
    rows = 256 if not INTERPRETED else 16
    logits, wanted = normal(rows, 2048, scale=2.0, dtype=dtype), picks(rows, **fixed)
    ours, theirs = fused.sample(logits, wanted), reference.sample(logits, wanted)
    differing = int((ours != theirs).sum())
    print(f"sample {fixed} {dtype}: {differing} of {rows} differ")
    assert differing <= rows // 50  # a uniform within rounding of a step of the cumulative sum


def test_sample_embed() -> None:
    rows = 16
    logits, table, wanted = normal(rows, 2048, scale=2.0), normal(2048, 1024), picks(rows)
    ids, fetched = fused.sample_embed(logits, wanted, table)
    assert torch.equal(ids, fused.sample(logits, wanted))
    assert torch.equal(fetched, table[ids])


def test_sample_first() -> None:
    rows, width, end = (128 if not INTERPRETED else 8), 3072, 2150
    logits, wanted = normal(rows, width, scale=2.0), picks(rows, top_k=50, top_p=1.0)
    allowed = torch.arange(width, device=DEVICE) < 2048
    allowed[end] = True
    logits[:, end] = 9.0
    seen = torch.rand(rows + 3, width, device=DEVICE) < 0.3
    slots, may_end = torch.randperm(rows + 3, device=DEVICE)[:rows], torch.arange(rows, device=DEVICE) % 2 == 0
    penalty = torch.rand(rows, device=DEVICE) + 0.7
    ours, theirs = seen.clone(), seen.clone()
    out = fused.sample_talker(logits, wanted, penalty, ours, slots, may_end, allowed, end)
    plain = reference.sample_talker(logits, wanted, penalty, theirs, slots, may_end, allowed, end)
    same = out == plain
    print(f"sample_first: {int((~same).sum())} of {rows} differ")
    assert int((~same).sum()) <= rows // 50 + 1
    assert torch.equal(ours[slots[same]], theirs[slots[same]])
    assert not bool((out[~may_end] == end).any())


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_ids_are_inside_the_row_where_no_logit_is_a_number(temperature: float, value: float) -> None:
    width, rows = 2048, 3
    logits = torch.full((rows, width), value, dtype=HALF, device=DEVICE)
    params = picks(rows, temperature=temperature)
    seen, allowed = torch.zeros(rows, width, dtype=torch.bool, device=DEVICE), torch.ones(width, device=DEVICE).bool()
    slots, one = torch.arange(rows, device=DEVICE), torch.ones(rows, device=DEVICE)
    first = fused.sample_talker(logits, params, one, seen, slots, one.bool(), allowed, 2000)
    code, fetched = fused.sample_embed(logits, params, normal(width, 64))
    for ids in (first, code, fused.sample(logits, params)):
        assert ((ids >= 0) & (ids < width)).all(), ids
    assert fetched.isfinite().all()
    assert (seen.sum(1) == 1).all()
