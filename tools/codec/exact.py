"""Distance of each operation of a decode from exact results.

The exact result is plain fp32 on the same inputs.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.ops.triton.codec.ops import Conv, History, Snake
from tools.codec.calls import Call

LEAST = 60.0  # dB; a product of halves has about 73


def ratio(call: Call, result: Any) -> float:
    """Signal to noise (dB) of a call: its worst part."""
    return min(_RATIOS[call.method](call, result))


def decibels(out: Tensor, exact: Tensor) -> float:
    """Signal to noise; NaN counts as none."""
    noise = (out.double() - exact.double()).square().sum()
    found = float(10 * torch.log10(exact.double().square().sum() / noise))
    return -math.inf if math.isnan(found) else found


def _snaked(x: Tensor, snake: Snake | None) -> Tensor:
    """Snake of x (..., N), where there is one."""
    if snake is None:
        return x
    width = x.shape[-1]
    return x + snake.gain[:width] * torch.sin(snake.frequency[:width] * x).square()


def _convolved(x: Tensor, conv: Conv) -> Tensor:
    """Causal convolution, x (B, H+T, C) -> (B, T, N).

    The first H rows of x are its past.
    """
    steps = x.shape[1] - conv.history
    starts = [tap * conv.dilation for tap in range(conv.taps)]
    taken = torch.stack([x[:, start : start + steps] for start in starts], 2).flatten(2).float()
    exact: Tensor = taken @ conv.weight[: conv.depth, : conv.width].float() + conv.bias[: conv.width]
    return exact


def _behind(out: Tensor, next_history: History | None, steps: int) -> Tensor:
    """Part of `out` behind the next layer's past, (B,T,N).

    `out` is (B, H + T s, C).
    """
    past = next_history.length * next_history.channels if next_history else 0
    present: Tensor = out.flatten(1)[:, past:].unflatten(1, (steps, -1))
    return present


def _joined(x: Tensor, width: int) -> Tensor:
    """(..., 3 N) high, low, high -> (..., N)."""
    return x[..., :width].float() + x[..., width : 2 * width].float()


def _conv_ratios(call: Call, result: tuple[Tensor, Tensor]) -> Iterator[float]:
    """Ratios of `raw`, `out`, where the call has them."""
    x, conv = call.args[0], call.args[1]
    exact = _convolved(x, conv)
    exact = F.gelu(exact) if call.options.get("gelu") else exact
    if call.options.get("residual") is not None:
        exact = exact + call.options["residual"].float()
    if call.options.get("raw"):
        yield decibels(result[0], exact)
    if call.options.get("out", True):
        out = _behind(result[1], call.options.get("next_history"), exact.shape[1])
        yield decibels(_joined(out, conv.width) if call.options.get("split3") else out, _snaked(exact, conv.snake))


def _unit_ratios(call: Call, result: tuple[Tensor, Tensor]) -> Iterator[float]:
    """Ratios of `raw`, if made, then of `out`."""
    x, residual, unit, next_history = call.args[0], call.args[1], call.args[2], call.args[5]
    middle = _snaked(_convolved(x, unit.first), unit.first.snake).to(x.dtype)
    exact = _convolved(middle, unit.second) + residual.float()
    if call.options["raw"]:
        yield decibels(result[0], exact)
    yield decibels(_behind(result[1], next_history, exact.shape[1]), _snaked(exact, unit.second.snake))


def _linear_ratios(call: Call, result: Tensor) -> Iterator[float]:
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
    yield decibels(_joined(result, exact.shape[-1]) if call.options.get("split3") else result, exact)


def _attention_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Ratios of the ring's new keys, values, the queries' result.

    `position` has been moved on by the call's last operation.
    """
    qkv, cache, on, position, freqs, frames, window = call.args
    streams, (heads, ring, width) = len(on.rows), cache.shape[2:]
    query, key_, value = qkv.view(streams, frames, 3, heads, width).unbind(2)  # (B, n, H, D)
    own = (position[on.rows] - frames)[:, None] + torch.arange(frames, device=qkv.device)
    angles = (2 * math.pi * own[..., None] * freqs).repeat(1, 1, 2)[:, :, None]
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


def _embed_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the sums behind the past."""
    codes, tables, _, next_history = call.args
    exact = torch.stack([table[codes[..., group]] for group, table in enumerate(tables)]).sum(0)
    yield decibels(_joined(result[:, next_history.length :], exact.shape[-1]), exact)


def _depthwise_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the normed convolution."""
    x, layer = call.args[0].float(), call.args[1]
    steps = result.shape[1]
    exact = sum(x[:, tap : tap + steps] * weight for tap, weight in enumerate(layer.weight)) + layer.bias
    yield decibels(result, F.layer_norm(exact, exact.shape[-1:], layer.norm_weight, layer.norm_bias, 1e-6))


def _wave_ratios(call: Call, result: Tensor) -> Iterator[float]:
    """Of the clamped wave."""
    x, conv = call.args[0].float(), call.args[1]
    steps = result.shape[1]
    exact = sum((x[:, tap : tap + steps] * weight).sum(-1) for tap, weight in enumerate(conv.weight)) + conv.bias
    yield decibels(result, exact.clamp(-1, 1))


_RATIOS: dict[str, Callable[..., Iterator[float]]] = {
    "conv": _conv_ratios,
    "unit": _unit_ratios,
    "linear": _linear_ratios,
    "attention": _attention_ratios,
    "embed": _embed_ratios,
    "depthwise_norm": _depthwise_ratios,
    "output_conv": _wave_ratios,
}
