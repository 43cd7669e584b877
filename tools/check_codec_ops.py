"""Each operation of a fused codec decode against plain fp32 on the same inputs: says which one is wrong, if any.

Full size, random weights, two calls in a row, for kernels that overlap and for kernels in order. Prints the whole
decode against the plain decoder, then every operation with its tile; one under 60 dB is tried with other tiles.
Usage: `python -m tools.check_codec_ops`; `TRITON_INTERPRET=1 python -m tools.check_codec_ops --shapes 1x1` needs no GPU
and some minutes.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from triton import OutOfResources

from engine.model.codec import CodecDecoder
from engine.model.codec_fused import FusedCodecDecoder
from engine.ops.triton import codec_tiles
from engine.ops.triton.codec_ops import Conv, Home, Snake
from engine.ops.triton.codec_tiles import Tile
from engine.ops.triton.launch import overlap
from tools.bench_codec import (
    DEVICE,
    SLOTS,
    Call,
    compile_all,
    fused,
    key,
    label,
    random_codes,
    recorded_with_results,
    sizes,
    weights,
)

SHAPES = ("1x1", "4x1", "6x1", "32x1", "4x4", "32x4", "3x12")
LEAST = 60.0  # dB; a product of halves has about 73
WAYS: dict[str, Any] = {"as launched": overlap(torch.device(DEVICE)), "in order": {"OVERLAP": False}}
if DEVICE == "cpu":
    del WAYS["as launched"]
VARIATIONS: tuple[dict[str, int], ...] = ({"split": 1}, {"stages": 2}, {"stages": 1}, {"warps": 8}, {"warps": 2})


def decibels(out: Tensor, exact: Tensor) -> float:
    """Signal to noise; NaN counts as none."""
    noise = (out.double() - exact.double()).square().sum()
    ratio = float(10 * torch.log10(exact.double().square().sum() / noise))
    return -math.inf if math.isnan(ratio) else ratio


def snaked(x: Tensor, snake: Snake | None) -> Tensor:
    """Snake of x (..., N), where there is one."""
    if snake is None:
        return x
    width = x.shape[-1]
    return x + snake.gain[:width] * torch.sin(snake.frequency[:width] * x).square()


def convolved(x: Tensor, conv: Conv) -> Tensor:
    """x (B, H + T, C), its past in front -> (B, T, N)."""
    steps = x.shape[1] - conv.history
    starts = [tap * conv.dilation for tap in range(conv.taps)]
    taken = torch.stack([x[:, start : start + steps] for start in starts], 2).flatten(2).float()
    exact: Tensor = taken @ conv.weight[: conv.depth, : conv.width].float() + conv.bias[: conv.width]
    return exact


def behind(out: Tensor, then: Home | None, steps: int) -> Tensor:
    """What `out` (B, H + T s, C) holds behind the next layer's past, as (B, T, N)."""
    past = then.length * then.channels if then else 0
    present: Tensor = out.flatten(1)[:, past:].unflatten(1, (steps, -1))
    return present


def joined(x: Tensor, width: int) -> Tensor:
    """(..., 3 N) high, low, high -> (..., N)."""
    return x[..., :width].float() + x[..., width : 2 * width].float()


def conv_ratios(call: Call, result: tuple[Tensor, Tensor]) -> Iterator[float]:
    """Of `raw` and of `out`, as far as the call makes them."""
    x, conv = call.args[0], call.args[1]
    exact = convolved(x, conv)
    exact = F.gelu(exact) if call.options.get("gelu") else exact
    if call.options.get("residual") is not None:
        exact = exact + call.options["residual"].float()
    if call.options.get("raw"):
        yield decibels(result[0], exact)
    if call.options.get("out", True):
        out = behind(result[1], call.options.get("then"), exact.shape[1])
        yield decibels(joined(out, conv.width) if call.options.get("thrice") else out, snaked(exact, conv.snake))


def unit_ratios(call: Call, result: tuple[Tensor, Tensor]) -> Iterator[float]:
    """Of `raw`, if made, and of `out`."""
    x, residual, unit, then = call.args[0], call.args[1], call.args[2], call.args[5]
    middle = snaked(convolved(x, unit.first), unit.first.snake).to(x.dtype)
    exact = convolved(middle, unit.second) + residual.float()
    if call.options["raw"]:
        yield decibels(result[0], exact)
    yield decibels(behind(result[1], then, exact.shape[1]), snaked(exact, unit.second.snake))


def linear_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the product with all that is around it."""
    x, linear = call.args
    if call.options.get("norm"):
        x = F.rms_norm(x, x.shape[-1:], eps=call.options["norm"])
    exact = x @ (linear.high.float() + linear.low.float())
    if call.options.get("gated"):
        gate, up = exact.chunk(2, -1)
        exact = F.silu(gate) * up
    exact = exact if linear.bias is None else exact + linear.bias
    if call.options.get("residual") is not None:
        exact = exact + call.options["residual"]
    yield decibels(joined(result, exact.shape[-1]) if call.options.get("thrice") else result, exact)


def attention_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the keys and the values that were put in the ring, and of what the queries took from it.

    `position` has been moved on by the call's last operation.
    """
    qkv, cache, on, position, turns, frames, window = call.args
    streams, (heads, ring, width) = len(on.rows), cache.shape[2:]
    query, key_, value = qkv.view(streams, frames, 3, heads, width).unbind(2)  # (B, n, H, D)
    own = (position[on.rows] - frames)[:, None] + torch.arange(frames, device=qkv.device)
    angles = (2 * math.pi * own[..., None] * turns).repeat(1, 1, 2)[:, :, None]
    cos, sin = angles.cos().float(), angles.sin().float()

    def rotated(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        turned: Tensor = x * cos + torch.cat((-second, first), -1) * sin
        return turned

    stored, stream = cache[on.rows].permute(0, 3, 1, 2, 4).float(), torch.arange(streams, device=qkv.device)
    new = stored[stream[:, None], own % ring]  # (B, n, 2, H, D)
    yield decibels(new[:, :, 0], rotated(key_))
    yield decibels(new[:, :, 1], value)
    seen = own[..., None] - torch.arange(window, device=qkv.device)  # (B, n, W)
    keys, values = stored[stream[:, None, None], seen % ring].unbind(3)  # (B, n, W, H, D)
    scores = torch.einsum("bnhd,bnwhd->bnhw", rotated(query), keys) * width**-0.5
    weights = scores.masked_fill((seen < 0)[:, :, None], -math.inf).softmax(-1)
    yield decibels(result, torch.einsum("bnhw,bnwhd->bnhd", weights, values).reshape(result.shape))


def embed_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the sums behind the past."""
    codes, tables, _, then = call.args
    exact = torch.stack([table[codes[..., group]] for group, table in enumerate(tables)]).sum(0)
    yield decibels(joined(result[:, then.length :], exact.shape[-1]), exact)


def depthwise_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the normed convolution."""
    x, layer = call.args[0].float(), call.args[1]
    steps = result.shape[1]
    exact = sum(x[:, tap : tap + steps] * weight for tap, weight in enumerate(layer.weight)) + layer.bias
    yield decibels(result, F.layer_norm(exact, exact.shape[-1:], layer.norm_weight, layer.norm_bias, 1e-6))


def wave_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the clamped wave."""
    x, conv = call.args[0].float(), call.args[1]
    steps = result.shape[1]
    exact = sum((x[:, tap : tap + steps] * weight).sum(-1) for tap, weight in enumerate(conv.weight)) + conv.bias
    yield decibels(result, exact.clamp(-1, 1))


RATIOS: dict[str, Callable[..., Iterator[float]]] = {
    "conv": conv_ratios,
    "unit": unit_ratios,
    "linear": linear_ratios,
    "attention": attention_ratios,
    "embed": embed_ratios,
    "depthwise_norm": depthwise_ratios,
    "wave": wave_ratios,
}


def poison() -> None:
    """Leave NaN in the memory that the next tensors will get: what nobody wrote must not be read."""
    torch.full((1 << 28,), math.nan, device=DEVICE)
    for size in (1 << 10, 1 << 14, 1 << 17):
        [torch.full((size,), math.nan, device=DEVICE) for _ in range(64)]


class Findings:
    """The worst of each operation, by its sizes and tile, for each way of launching; and one call that gave it."""

    def __init__(self) -> None:
        self.worst: dict[str, dict[str, float]] = {}
        self.calls: dict[str, Call] = {}

    def add(self, way: str, call: Call, result: Any) -> None:
        """Compare a call's result with plain maths."""
        ratio, name = min(RATIOS[call.method](call, result)), f"{label(call):28} {tile_of(call) or ''}"
        row = self.worst.setdefault(name, {})
        if ratio <= min(row.values(), default=math.inf):
            self.calls[name] = call
        row[way] = min(ratio, row.get(way, math.inf))

    def show(self, decoder: FusedCodecDecoder) -> None:
        """A line an operation; one that is wrong is tried with other tiles."""
        for name, row in self.worst.items():
            wrong = min(row.values()) < LEAST
            print(
                f"  {' '.join(f'{row[way]:6.1f}' for way in WAYS)} dB  {name}{'  WRONG' if wrong else ''}", flush=True
            )
            if wrong:
                self.vary(decoder, self.calls[name])

    def vary(self, decoder: FusedCodecDecoder, call: Call) -> None:
        """The same call with one thing of its tile changed at a time."""
        tile = tile_of(call)
        if tile is None:
            return
        for changes in VARIATIONS:
            other = dataclasses.replace(tile, **changes)
            try:
                result = getattr(decoder.ops, call.method)(*call.args, **call.options, tile=other)
            except OutOfResources:
                continue
            print(f"          {min(RATIOS[call.method](call, result)):6.1f} dB with {changes}", flush=True)


def tile_of(call: Call) -> Tile | None:
    """The tile that the call ran with."""
    named = key(call)
    if named is None:
        return None
    kind, depth, width, positions = named
    match kind:
        case "CONV":
            return codec_tiles.conv_tile(positions, depth, width)
        case "UNIT":
            return codec_tiles.unit_tile(positions, depth)
        case _:
            return codec_tiles.linear_tile(positions, depth, width)


def compare(decoder: FusedCodecDecoder, plain: CodecDecoder, streams: int, frames: int, found: Findings) -> None:
    """Two calls in a row, the second over the first one's memory, for each way of launching."""
    slots = torch.arange(streams, device=DEVICE)
    codes = [random_codes(streams, frames, DEVICE) for _ in range(2)]
    state = plain.new_state(SLOTS, DEVICE, torch.float32)
    wanted = [plain.forward(part, state, slots) for part in codes]
    for way, launch in WAYS.items():
        decoder.ops.launch = launch
        state = decoder.new_state(SLOTS, DEVICE, torch.float16)
        whole = []
        for part, exact in zip(codes, wanted, strict=True):
            if DEVICE == "cuda":
                poison()
            calls = recorded_with_results(decoder, state, part, slots)
            whole.append(decibels(calls[-1][1], exact))
            for call, result in calls:
                found.add(way, call, result)
        print(f"{way}, {streams} x {frames} twice: {whole[0]:.1f}, {whole[1]:.1f} dB against plain fp32", flush=True)


def main() -> None:
    """Compile in parallel, compare shape by shape, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), metavar="STREAMSxFRAMES")
    parser.add_argument("--processes", type=int, default=14, help="compilers at a time")
    options = parser.parse_args()
    shapes = [(int(streams), int(frames)) for streams, _, frames in (text.partition("x") for text in options.shapes)]
    if DEVICE == "cuda":
        compile_all(options.processes, shapes)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    on_device = weights(DEVICE)
    plain, decoder, found = CodecDecoder(sizes(), on_device), fused(on_device), Findings()
    for streams, frames in shapes:
        compare(decoder, plain, streams, frames, found)
    print(f"the worst of each operation, {', '.join(WAYS)}:")
    found.show(decoder)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
