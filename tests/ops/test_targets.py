"""Every kernel compiles for Ampere, Ada, Hopper and Blackwell, and fits their shared memory. No card is needed."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", "3.6.0", reason="triton 3.6 or newer compiles the kernels")

from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Rope, SamplingTensors
from engine.ops.triton import launch
from engine.ops.triton.codec.ops import CodecOps, Conv, History, Linear, Snake, Streams, Unit
from engine.ops.triton.codec.tiles import CONV, UNIT
from engine.ops.triton.gemm import plan
from engine.ops.triton.ops import TritonOps
from engine.ops.triton.parallel_compile import _Elsewhere
from engine.ops.triton.symmetric import SymmetricPeers

pytestmark = pytest.mark.timeout(1800)
NOWHERE = torch.device("meta")
HEADS, GROUPS, WIDTH, SLOTS = 16, 8, 128, 4
SHARED = {80: 166_912, 89: 101_376, 90: 232_448, 100: 232_448, 120: 101_376}  # bytes a program may have


class _Target(_Elsewhere):
    def get_current_stream(self, _device: int) -> int:
        return 0


@pytest.fixture(params=list(SHARED), ids=lambda arch: f"sm_{arch}")
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Launches compile for a target instead; the function tells the kernels that ask for too much shared memory."""
    arch, kernels, before, run = request.param, dict[str, Any](), driver._active, JITFunction.run

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        if self not in functions:
            functions.append(self)
            self.device_caches.clear()  # they keep the target of the first launch
        made = run(self, *args, grid=grid, warmup=True, **options)
        kernels[f"{self.fn.__name__} {made.hash}"] = made
        return made

    def over() -> list[str]:
        return [f"{name}: {made.metadata.shared}" for name, made in kernels.items() if made.metadata.shared > limit]

    functions = list[Any]()
    limit = SHARED[arch]
    driver.set_active(_Target(GPUTarget("cuda", arch, 32)))
    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr(launch, "capability", lambda _: divmod(arch, 10))
    for module in (plan, __import__("engine.ops.triton.codec.ops", fromlist=["ops"])):
        monkeypatch.setattr(module, "shared_memory", lambda _: limit)
    yield over
    driver._active = before
    for function in functions:
        function.device_caches.clear()


def test_kernels_of_the_language_models_fit(compiled: Callable[[], list[str]]) -> None:
    ops = TritonOps()
    for rows in (1, 16, 17, 40):
        for width, inner in ((1024, 3072), (2048, 6144)):
            x, norm = half(rows, width), half(width)
            ops.norm_linear(x, norm, half((HEADS + 2 * GROUPS) * WIDTH, width), 1e-6)
            ops.linear_residual(half(rows, HEADS * WIDTH), half(width, HEADS * WIDTH), x, norm, 1e-6)
            ops.norm_swiglu(x, norm, half(2 * inner, width), 1e-6)
            ops.linear_residual(half(rows, inner), half(width, inner), x, norm, 1e-6)
            ops.linear(x, half(4096 - width, width))
            ops.rms_norm(x, norm, 1e-6)
    attend(ops)
    sample(ops)
    assert not compiled()


def test_kernels_of_several_ranks_fit(compiled: Callable[[], list[str]]) -> None:
    ops = TritonOps()
    for ranks in (2, 3):
        for rank in (0, ranks - 1):
            peers = SymmetricPeers(rank, ranks, NOWHERE, 64, 2048, partial(_nowhere, ranks))
            peers.broadcast(half(64, 2048))
            for rows in (1, 40):
                parts = ops.partial_linear(half(rows, 6144 // ranks), half(2048, 6144 // ranks), ranks)
                peers.reduce(parts, half(rows, 2048), half(2048), 1e-6)
    assert not compiled()


def _nowhere(ranks: int, _size: int) -> list[int]:
    return [0] * ranks


def attend(ops: TritonOps) -> None:
    norms, rope = HeadNorms(half(WIDTH), half(WIDTH), 1e-6), Rope(half(99, WIDTH), half(99, WIDTH))
    cache, rows = LayerCache(half(9, 16, GROUPS, WIDTH), half(9, 16, GROUPS, WIDTH)), whole(3, 2)
    metadata = AttentionMetadata(whole(SLOTS, 8, dtype=torch.int32), rows[:, 0], rows[:, 1])
    qkv = half(3, (HEADS + 2 * GROUPS) * WIDTH)
    ops.paged_decode(qkv, norms, rope, cache, metadata)
    ops.paged_prefill(qkv, norms, rope, cache, metadata)
    for steps in (1, 2):
        ops.dense_attention(qkv[:, None].expand(-1, steps, -1), norms, rope, cache, 2 - steps)


def sample(ops: TritonOps) -> None:
    params = SamplingTensors(single(3), whole(3, dtype=torch.int32), single(3), single(3))
    flags = torch.empty(3, dtype=torch.bool, device=NOWHERE)
    ops.sample(half(3, 2048), params)
    ops.sample_embed(half(3, 2048), params, half(2048, 1024))
    mask, allowed = flags.new_empty(SLOTS, 3072), flags.new_empty(3072)
    ops.sample_talker(half(3, 3072), params, single(3), mask, whole(3), flags, allowed, 5)
    ops.embed(half(99, 2048), whole(3, 16), half(3, 2048))
    ops.uniforms(whole(3), whole(3), 16)


def test_kernels_of_the_codec_fit(compiled: Callable[[], list[str]]) -> None:
    ops, on = CodecOps(NOWHERE), Streams(whole(1))
    for (depth, width), tiles in CONV.items():
        for _, tile in tiles[:1] + tiles[-1:]:
            convolution = conv(depth, width)
            ops.conv(half(1, 40, depth, dtype=torch.float16), convolution, on, raw=torch.float32, tile=fit(ops, tile))
    for (channels, _), tiles in UNIT.items():
        for positions, _ in tiles:
            unit(ops, on, channels, min(positions, 50_000))
    for positions in (1, 40):
        transformer(ops, on, positions)
    assert not compiled()


def fit(ops: CodecOps, tile: Any) -> Any:
    return tile.fitted(2 * tile.depth * (tile.rows + tile.columns), ops.shared)


def conv(depth: int, width: int, taps: int = 1) -> Conv:
    padded = -(-width // 64) * 64
    weight = half(padded, depth, dtype=torch.float16).t()
    return Conv(weight, single(padded), taps, 1, width, Snake(single(padded), single(padded)), depth)


def unit(ops: CodecOps, on: Streams, channels: int, positions: int) -> None:
    past = History(half(SLOTS, 6 * channels, dtype=torch.float16), 6, channels)
    x, residual = (half(1, n, channels, dtype=torch.float16) for n in (6 + positions, positions))
    both = Unit(conv(7 * channels, channels, taps=7), conv(channels, channels))
    ops.unit(x, residual, both, on, past, past, raw=True)


def transformer(ops: CodecOps, on: Streams, positions: int) -> None:
    def linear(depth: int, width: int) -> Linear:
        return Linear(half(depth, width, dtype=torch.float16), half(depth, width, dtype=torch.float16), None)

    x, ring = single(positions, 512), half(SLOTS, 2, 16, 87, 64, dtype=torch.float16)
    qkv = ops.linear(x, linear(512, 3072), norm=1e-5)
    mixed = ops.attention(qkv[:1], ring, on, whole(SLOTS), single(32, dtype=torch.float64), 1, 72)
    ops.linear(mixed, linear(1024, 512), residual=x[:1])
    ops.linear(x, linear(512, 2048), norm=1e-5, gated=True)
    ops.linear(x, linear(512, 1024), norm=1e-5, split3=True)


def half(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=NOWHERE)


def single(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=NOWHERE)


def whole(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=NOWHERE)
