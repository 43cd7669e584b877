"""Each operation of a fused codec decode against plain fp32 on the same inputs: says which one is wrong, if any.

Full size, random weights, fresh streams. Prints every operation under 60 dB, for kernels that overlap and in order, and
the whole decode against the plain decoder on the same GPU and on the CPU. Usage: `python -m tools.check_codec_ops`.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model.codec import CodecDecoder
from engine.ops.triton.codec_ops import Conv, Home, Snake
from tools.bench_codec import (
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

SHAPES = ((1, 1), (4, 1), (7, 1), (4, 4), (32, 1), (3, 12))  # streams, frames
LEAST = 60.0  # dB; a product of halves has about 74


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
    """Of streams at their start, whose ring is empty."""
    qkv, cache, rows, _, turns = call.args[:5]
    heads, width = cache.shape[2], cache.shape[4]
    query, key_, value = qkv.view(len(rows), -1, 3, heads, width).transpose(1, 3).unbind(2)  # (B, H, n, D)
    angles = (2 * math.pi * torch.arange(query.shape[2], device=qkv.device)[:, None] * turns).repeat(1, 2)
    cos, sin = angles.cos().float(), angles.sin().float()

    def rotated(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        turned: Tensor = x * cos + torch.cat((-second, first), -1) * sin
        return turned

    mixed = F.scaled_dot_product_attention(rotated(query), rotated(key_), value, is_causal=True)
    yield decibels(result, mixed.transpose(1, 2).flatten(2).flatten(0, 1))


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
    torch.full((1 << 28,), math.nan, device="cuda")
    for size in (1 << 10, 1 << 14, 1 << 17):
        [torch.full((size,), math.nan, device="cuda") for _ in range(64)]


def main() -> None:
    """Compile in parallel, then compare, overlapping first."""
    compile_all(12, tuning=False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    on_device = weights("cuda")
    plain = CodecDecoder(sizes(), on_device)
    slow = CodecDecoder(sizes(), {name: tensor.cpu() for name, tensor in on_device.items()})
    decoder = fused(on_device)
    launches = {"as launched": decoder.ops.launch, "in order": {"OVERLAP": False}}
    for name, launch in launches.items():
        decoder.ops.launch = launch
        for streams, frames in SHAPES:
            codes, slots = random_codes(streams, frames), torch.arange(streams, device="cuda")
            wanted = plain.forward(codes, plain.new_state(SLOTS, "cuda", torch.float32), slots)
            state = decoder.new_state(SLOTS, "cuda", torch.float16)
            poison()
            whole = decibels(decoder.forward(codes, state, slots), wanted)
            line = f"{name}, {streams} x {frames}: {whole:.1f} dB"
            if streams <= 4:
                exact = slow.forward(codes.cpu(), slow.new_state(SLOTS, "cpu", torch.float32), slots.cpu())
                line += f" (plain on this GPU against the CPU: {decibels(wanted.cpu(), exact):.1f})"
            print(line, flush=True)
            fresh = decoder.new_state(SLOTS, "cuda", torch.float16)
            for call, result in recorded_with_results(decoder, fresh, codes, slots):
                ratios = list(RATIOS[call.method](call, result))
                if min(ratios) < LEAST:
                    tile = f", tile of {key(call)}" if key(call) else ""
                    print(f"    {label(call)}: {', '.join(f'{ratio:.1f}' for ratio in ratios)} dB{tile}", flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
