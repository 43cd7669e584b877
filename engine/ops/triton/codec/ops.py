"""Launchers of the codec's kernels.

Shapes in, tensors out, tile sizes from tables.
"""

import math
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from engine.ops.triton.codec.conv import conv_kernel
from engine.ops.triton.codec.ends import depthwise_norm_kernel, embed_kernel, wave_kernel
from engine.ops.triton.codec.tiles import LEAST, Tile, conv_tile, largest_power_below, linear_tile, unit_tile
from engine.ops.triton.codec.transformer import attention_kernel, linear_kernel
from engine.ops.triton.codec.unit import unit_kernel
from engine.ops.triton.launch import overlap, shared_memory

COPY = 8192  # values of a past that one program carries
FEW = 64  # positions up to which a product waits for its weights more than it multiplies
ATTENTION_WARPS = 8
MULTIPROCESSORS = 132  # a unit of fewer tiles waits for its weights too
COLUMNS = 64  # weights have a multiple of this many columns


@dataclass(frozen=True, slots=True)
class Snake:
    """`x + gain sin(frequency x)^2`: both (N,) fp32."""

    frequency: Tensor
    gain: Tensor


@dataclass(frozen=True, slots=True)
class Conv:
    """Weights of a convolution.

    weight (depth = taps C, width = N) with zero rows and columns beyond, of any strides; bias (N,) fp32; snake is what
    follows.
    """

    weight: Tensor
    bias: Tensor
    taps: int
    dilation: int
    width: int
    snake: Snake | None
    depth: int

    @property
    def channels(self) -> int:
        """Input channels C."""
        return self.depth // self.taps

    @property
    def history(self) -> int:
        """Earlier positions that an output depends on."""
        return (self.taps - 1) * self.dilation


@dataclass(frozen=True, slots=True)
class Linear:
    """Weights of a linear map.

    weight (K, N) = high + low, each in half precision; bias (N,) fp32, if any.
    """

    high: Tensor
    low: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Unit:
    """Weights of a residual unit.

    The dilated conv and its Snake, the 1x1 conv and the Snake that opens what comes next.
    """

    first: Conv
    second: Conv


@dataclass(frozen=True, slots=True)
class Depthwise:
    """Weights of a depthwise conv, then layer norm.

    weight (taps, C), bias (C,); all fp32.
    """

    weight: Tensor
    bias: Tensor
    norm_weight: Tensor
    norm_bias: Tensor


@dataclass(frozen=True, slots=True)
class History:
    """Memory of one causal layer's past.

    values (slots, H C), part of the pasts of all layers, `length` = H positions of C `channels` each.
    """

    values: Tensor
    length: int
    channels: int


@dataclass(frozen=True, slots=True)
class Streams:
    """State that all operations of one call share.

    `rows` (B,) int64 names the slot of each sample of the batch.
    """

    rows: Tensor


class CodecOps:
    """Operations of the codec on one device.

    Stateless, so that calls on several threads and streams may meet.
    """

    def __init__(self, device: torch.device) -> None:
        self.launch = overlap(device)  # options of every launch
        self.shared = shared_memory(device)

    def streams(self, rows: Tensor) -> Streams:
        """`Streams` of a call, which `embed` opens."""
        return Streams(rows.contiguous())

    def embed(self, codes: Tensor, tables: Tensor, on: Streams, next_history: History) -> Tensor:
        """Sum of the codes' table rows: high, low, high.

        codes (B, n, G), tables (G, V, C) fp32 -> (B, H + n, 3 C).
        The first kernel of a call is launched in order: what earlier calls left is complete when any later kernel
        starts.
        """
        streams, frames, groups = codes.shape
        out = _padded(next_history.values, streams, frames, next_history.channels, next_history)
        past = next_history.length * next_history.channels
        embed_kernel[(streams * (frames + triton.cdiv(past, COPY)),)](
            codes, tables, out, next_history.values, on.rows, streams, frames, tables.shape[1], groups,
            out.stride(0), next_history.values.stride(0), past,
            C=tables.shape[2], COPY=COPY, OVERLAP=self.launch["OVERLAP"],
        )  # fmt: skip
        return out

    def conv(
        self,
        x: Tensor,
        conv: Conv,
        on: Streams,
        *,
        history: History | None = None,
        next_history: History | None = None,
        residual: Tensor | None = None,
        gelu: bool = False,
        raw: torch.dtype | None = None,
        out: bool = True,
        split3: bool = False,
        tile: Tile | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Causal convolution.

        x (B, H + T, C) -> (B, T, N) before Snake if `raw`, and (B, H' + T s, N / s) after it if `out`.
        `history` is this layer's past, `next_history` the next layer's: it gives H' and channels N / s. `split3`: the
        second is written as 3 N channels, high, low, high.
        """
        streams, steps = x.shape[0], x.shape[1] - (history.length if history else 0)
        positions, width, depth = streams * steps, conv.width, conv.depth
        t = tile or conv_tile(positions, depth, width)
        chunk = math.gcd(t.depth, conv.channels)
        t = t.fitted(2 * chunk * (t.rows + t.columns), self.shared)
        assert conv.weight.shape[1] % t.columns == 0, "a tile must not read beyond the padded columns"
        plain = x.new_empty((streams, steps, width), dtype=raw) if raw else x
        padded = _padded(x, streams, steps, 3 * width if split3 else width, next_history) if out else x
        past, tail = _size(next_history), _size(history)
        programs = triton.cdiv(positions, t.rows) * triton.cdiv(width, t.columns)
        snake = conv.snake or Snake(conv.bias, conv.bias)
        source = history or next_history
        pasts = source.values if source else conv.bias
        activation = "gelu" if gelu else "snake" if conv.snake else "none"
        conv_kernel[(programs + streams * (triton.cdiv(tail, COPY) + triton.cdiv(past, COPY)),)](
            x, conv.weight, conv.bias, snake.frequency, snake.gain, x if residual is None else residual, plain, padded,
            history.values if history else pasts, next_history.values if next_history else pasts, on.rows,
            positions, steps, conv.channels, width, *conv.weight.stride(), depth, (conv.dilation - 1) * conv.channels,
            x.stride(0), 0 if residual is None else residual.stride(0), padded.stride(0), pasts.stride(0),
            tail, past,
            BM=t.rows, BN=t.columns, BK=chunk,
            PREFETCH=positions <= FEW, ACTIVATION=activation,
            RESIDUAL=residual is not None, RAW=raw is not None, OUT=out, THRICE=split3,
            COPY=COPY if source else 0,
            num_warps=t.warps, num_stages=t.stages, **self.launch,
        )  # fmt: skip
        return plain, padded

    def unit(
        self,
        x: Tensor,
        residual: Tensor,
        unit: Unit,
        on: Streams,
        history: History,
        next_history: History,
        *,
        raw: bool,
        tile: Tile | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Residual unit.

        x (B, H + T, C) after Snake and residual (B, T, C) before it -> the same two for the next layer.
        """
        streams, steps, channels = residual.shape
        positions, first, second = streams * steps, unit.first, unit.second
        assert first.snake is not None and second.snake is not None  # a unit always has both
        t = tile or unit_tile(positions, channels)
        t = t.fitted(2 * t.depth * (t.rows + channels), self.shared)
        assert not t.wgmma, "a unit is wrong with wgmma (see codec_tiles)"
        plain = torch.empty_like(residual) if raw else x
        padded = _padded(x, streams, steps, channels, next_history)
        past, tail = _size(next_history), _size(history)
        tiles = triton.cdiv(positions, t.rows)
        block = largest_power_below(channels)
        unit_kernel[(tiles + streams * (triton.cdiv(tail, COPY) + triton.cdiv(past, COPY)),)](
            x, residual, first.weight, first.bias, first.snake.frequency, first.snake.gain,
            second.weight, second.bias, second.snake.frequency, second.snake.gain, plain, padded,
            history.values, next_history.values, on.rows, positions, steps, (first.dilation - 1) * channels,
            x.stride(0), padded.stride(0), history.values.stride(0), tail, past, triton.cdiv(first.depth, t.depth),
            TAPS=first.taps, C=channels,
            CA=block, CB=channels - block, BM=t.rows, BK=t.depth, RAW=raw, PREFETCH=tiles <= MULTIPROCESSORS, COPY=COPY,
            num_warps=t.warps, num_stages=t.stages, **self.launch,
        )  # fmt: skip
        return plain, padded

    def linear(
        self,
        x: Tensor,
        linear: Linear,
        *,
        norm: float | None = None,
        gated: bool = False,
        residual: Tensor | None = None,
        split3: bool = False,
        tile: Tile | None = None,
    ) -> Tensor:
        """Linear map with residual, in fp32.

        `residual + x @ weight + bias`, x (M, K) -> (M, N), or SwiGLU of 2 N columns if `gated`.
        `norm`: the epsilon of an RMS norm of x before it. `split3`: (M, 3 N) halves instead, high, low, high.
        """
        positions, depth = x.shape
        columns = linear.high.shape[1]
        width = columns // 2 if gated else columns
        out = linear.high.new_empty((positions, 3 * width)) if split3 else x.new_empty((positions, width))
        t = tile or linear_tile(positions, depth, width)
        t = t.fitted(4 * t.depth * (t.rows + t.columns * (2 if gated else 1)), self.shared)
        linear_kernel[(width // t.columns, triton.cdiv(positions, t.rows))](
            x, linear.high, linear.low, x if linear.bias is None else linear.bias,
            x if residual is None else residual, out,
            positions, width, columns, norm or 0.0, K=depth, BM=t.rows, BN=t.columns, BK=math.gcd(t.depth, depth),
            NORM=norm is not None, GATED=gated, BIAS=linear.bias is not None, RESIDUAL=residual is not None,
            THRICE=split3, PREFETCH=positions <= FEW, num_warps=t.warps, num_stages=t.stages, **self.launch,
        )  # fmt: skip
        return out

    def attention(
        self, qkv: Tensor, cache: Tensor, on: Streams, position: Tensor, freqs: Tensor, frames: int, window: int
    ) -> Tensor:
        """Windowed attention of n new positions.

        qkv (B n, 3 H D) fp32, cache (S, 2, H, ring, D) -> (B n, H D).
        position (slots,) int64 counts earlier positions; freqs (D / 2,) fp64 are the rotary frequencies in turns.
        """
        streams, heads, ring, size = on.rows.shape[0], cache.shape[2], cache.shape[3], cache.shape[4]
        assert window - 1 + frames <= ring, "the ring is too small for so many frames at once"
        out = qkv.new_empty((qkv.shape[0], heads * size))
        attention_kernel[(streams, heads)](
            qkv, cache[:, 0], cache[:, 1], out, on.rows, position, freqs, frames, cache.stride(0), heads, ring, window,
            size**-0.5, HALF=size // 2,
            BQ=max(LEAST, triton.next_power_of_2(frames)), BR=max(LEAST, triton.next_power_of_2(ring)),
            num_warps=ATTENTION_WARPS, num_stages=1, **self.launch,
        )  # fmt: skip
        return out

    def depthwise_norm(self, x: Tensor, layer: Depthwise, on: Streams, history: History) -> Tensor:
        """Depthwise causal conv, then layer norm.

        x (B, H + T, C) -> (B, T, C).
        """
        streams, length, channels = x.shape
        steps = length - history.length
        out = x.new_empty((streams, steps, channels))
        depthwise_norm_kernel[(streams * (steps + triton.cdiv(_size(history), COPY)),)](
            x, layer.weight, layer.bias, layer.norm_weight, layer.norm_bias, out, history.values, on.rows,
            streams * steps, steps, x.stride(0), history.values.stride(0), _size(history), 1e-6,
            TAPS=layer.weight.shape[0], C=channels, COPY=COPY, num_warps=4, **self.launch,
        )  # fmt: skip
        return out

    def output_conv(
        self, x: Tensor, conv: Conv, on: Streams, history: History, position: Tensor, frames: int
    ) -> Tensor:
        """Last conv, clamped; advances the positions.

        x (B, H + T, C) -> (B, T) fp32 in [-1, 1].
        """
        streams, length, channels = x.shape
        steps = length - history.length
        out = x.new_empty((streams, steps), dtype=torch.float32)
        block = 32
        tiles = triton.cdiv(streams * steps, block)
        wave_kernel[(tiles + streams * triton.cdiv(_size(history), COPY),)](
            x, conv.weight, conv.bias, out, history.values, on.rows, position, streams, frames, streams * steps, steps,
            x.stride(0), history.values.stride(0), _size(history), TAPS=conv.taps, C=channels,
            BC=triton.next_power_of_2(channels), BM=block, COPY=COPY,
            num_warps=4, **self.launch,
        )  # fmt: skip
        return out


def _size(history: History | None) -> int:
    return history.length * history.channels if history else 0


def _padded(like: Tensor, streams: int, steps: int, width: int, next_history: History | None) -> Tensor:
    if next_history is None:
        return like.new_empty((streams, steps, width))
    return like.new_empty(
        (streams, next_history.length + steps * width // next_history.channels, next_history.channels)
    )
