"""The codec decoder: frames of 16 codes to 24 kHz audio, strictly causal, for many streams at once.

Zero memory equals the zero padding at the start of a stream, so a stream's first frame is like any other, and frames
may come in any split and beside any other streams. Letters in shapes: B rows of this call, n new frames, S slots
with the scratch one, C channels, T samples at a layer's own rate.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model.codec_config import CodecDecoderConfig
from engine.model.codec_transformer import CodecTransformer
from engine.model.tensors import Tensors, under

RESIDUAL_DILATIONS = (1, 3, 9)
CONVOLUTION_REACH = 12  # frames: 2 before the transformer and 9.4 after it, rounded up


@dataclass(frozen=True, slots=True)
class CodecState:
    """What streams remember between calls, one row a slot; the last is scratch for padded rows. Zero is a start.

    tails (S, tail values): the latest inputs of every causal convolution, side by side; rings (L, S, W, 2, G, D): the
    transformer's keys and values, frame p at place p % W; frames (S,) int64: frames seen.
    """

    tails: Tensor
    rings: Tensor
    frames: Tensor

    def reset(self, rows: Tensor) -> None:
        """Put the slots `rows` (R,) at the start of a stream."""
        self.tails.index_fill_(0, rows, 0)
        self.rings.index_fill_(1, rows, 0)  # masked anyway, but a value that is not finite would shine through
        self.frames.index_fill_(0, rows, 0)


class CodecDecoder:
    """The decoder of the 12.5 Hz codec: quantizer, transformer, and convolutions that raise the rate 1920-fold."""

    def __init__(self, config: CodecDecoderConfig, weights: Tensors) -> None:
        """`weights`: the speech tokenizer's tensors under "decoder.", named without that prefix; KeyError if short."""
        decoder, last = under(weights, "decoder"), len(config.upsample_rates) + 1
        layout = TailLayout()
        self.config = config
        self.quantizer = _Quantizer(config, under(weights, "quantizer"))
        self.pre_conv = CausalConv(under(weights, "pre_conv.conv"), layout)
        self.transformer = CodecTransformer(config, under(weights, "pre_transformer"))
        self.upsample = [
            _Upsample(under(weights, f"upsample.{i}"), ratio, layout)
            for i, ratio in enumerate(config.upsampling_ratios)
        ]
        self.first = CausalConv(under(decoder, "0.conv"), layout)
        self.blocks = [
            _Block(under(decoder, f"{i}.block"), rate, layout) for i, rate in enumerate(config.upsample_rates, 1)
        ]
        self.snake = Snake(under(decoder, f"{last}"))
        self.last = CausalConv(under(decoder, f"{last + 1}.conv"), layout)
        self.tail_size = layout.size

    @property
    def reach(self) -> int:
        """Frames after which a stream has forgotten: longer pasts leave the same state, up to fp32 rounding."""
        return self.config.layers * (self.config.window - 1) + CONVOLUTION_REACH

    def new_state(self, slots: int, device: torch.device | str, dtype: torch.dtype) -> CodecState:
        """The memory of `slots` streams, all at their start, and of the scratch slot at index `slots`."""
        c, rows = self.config, slots + 1
        return CodecState(
            torch.zeros(rows, self.tail_size, device=device, dtype=dtype),
            torch.zeros(c.layers, rows, c.window - 1, 2, c.kv_heads, c.head_dim, device=device, dtype=dtype),
            torch.zeros(rows, device=device, dtype=torch.int64),
        )

    def forward(self, codes: Tensor, state: CodecState, rows: Tensor) -> Tensor:
        """The next n frames of the streams in slots `rows` (B,) int64: codes (B, n, 16) -> (B, n * 1920) in [-1, 1].

        Updates `state` in place. Rows must differ, but for the scratch slot. Never waits for the device.
        """
        tails, frames = state.tails.index_select(0, rows), state.frames.index_select(0, rows)
        x = self.pre_conv(self.quantizer(codes), tails)
        x = self.transformer(x.transpose(1, 2), state.rings, rows, frames).transpose(1, 2)
        for upsample in self.upsample:
            x = upsample(x, tails)
        x = self.first(x, tails)
        for block in self.blocks:
            x = block(x, tails)
        x = self.last(self.snake(x), tails)
        state.tails.index_copy_(0, rows, tails)
        state.frames.index_copy_(0, rows, frames + codes.shape[1])
        return x.squeeze(1).clamp(-1, 1)


class TailLayout:
    """Hands out places side by side in a slot's row of `CodecState.tails`."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, length: int) -> int:
        """The start of `length` values of one's own."""
        start, self.size = self.size, self.size + length
        return start


class CausalConv:
    """A convolution over the past alone: its `(kernel - 1) * dilation` latest inputs stand before the new ones."""

    def __init__(self, weights: Tensors, layout: TailLayout, dilation: int = 1, groups: int = 1) -> None:
        self.weight, self.bias = weights["weight"], weights["bias"]  # (out, in / groups, kernel), (out,)
        self.dilation, self.groups = dilation, groups
        self.channels = self.weight.shape[1] * groups
        self.length = (self.weight.shape[2] - 1) * dilation
        self.start = layout.take(self.channels * self.length)

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(B, in, T) -> (B, out, T); `tails` (B, tail values) is updated in place."""
        if self.length:
            x = self._after_tail(x, tails)
        y: Tensor = F.conv1d(x, self.weight, self.bias, dilation=self.dilation, groups=self.groups)
        return y

    def _after_tail(self, x: Tensor, tails: Tensor) -> Tensor:
        tail = tails.narrow(1, self.start, self.channels * self.length).view(-1, self.channels, self.length)
        x = torch.cat((tail, x), 2)
        tail.copy_(x[:, :, -self.length :])
        return x


class CausalUpsampler:
    """A causal transposed convolution, run as a plain one that makes `stride` samples for each input sample.

    Of kernel `k * stride`, sample `t * stride + j` is the sum over i < k of `weight[:, :, i * stride + j] x[t - i]`.
    """

    def __init__(self, weights: Tensors, stride: int, layout: TailLayout) -> None:
        self.stride = stride
        weight = weights["weight"].unflatten(2, (-1, stride)).flip(2)  # (in, out, k, stride), oldest input first
        weight = weight.permute(1, 3, 0, 2).flatten(0, 1).contiguous()  # (out * stride, in, k)
        self.conv = CausalConv({"weight": weight, "bias": weights["bias"].repeat_interleave(stride)}, layout)

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(B, in, T) -> (B, out, T * stride)"""
        return self.conv(x, tails).unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(2)


class Snake:
    """`x + sin(a x)^2 / (b + 1e-9)` with a = exp(alpha), b = exp(beta) a channel (SnakeBeta)."""

    def __init__(self, weights: Tensors) -> None:
        self.frequency = weights["alpha"].exp()[:, None]
        self.height = (1.0 / (weights["beta"].exp() + 1e-9))[:, None]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, (x * self.frequency).sin_().square_(), self.height)


class _Quantizer:
    """Codes to vectors: sum over codebooks of `projection @ (embedding_sum / usage)[code]`, one table lookup each."""

    def __init__(self, config: CodecDecoderConfig, weights: Tensors) -> None:
        tables = [*_tables(under(weights, "rvq_first")), *_tables(under(weights, "rvq_rest"))]
        assert len(tables) == config.quantizers
        self.table = torch.cat(tables)  # (16 * 2048, C)
        self.starts = torch.arange(0, len(self.table), len(tables[0]), device=self.table.device)

    def __call__(self, codes: Tensor) -> Tensor:
        """(B, n, 16) -> (B, C, n)"""
        return F.embedding(codes + self.starts, self.table).sum(2).transpose(1, 2)


def _tables(weights: Tensors) -> list[Tensor]:
    """The projected codebooks of one residual quantizer, (2048, C) each."""
    projection = weights["output_proj.weight"].squeeze(2)  # (C, width)
    books = [under(weights, f"vq.layers.{i}._codebook") for i in range(_count(weights, "_codebook.embedding_sum"))]
    return [book["embedding_sum"] / book["cluster_usage"].clamp(min=1e-5)[:, None] @ projection.T for book in books]


def _count(weights: Tensors, suffix: str) -> int:
    return sum(name.endswith(suffix) for name in weights)


class _Upsample:
    """Raise the rate, then a ConvNeXt block: depthwise convolution, LayerNorm, two linear maps, scaled and added."""

    def __init__(self, weights: Tensors, ratio: int, layout: TailLayout) -> None:
        block = under(weights, "1")
        self.upsampler = CausalUpsampler(under(weights, "0.conv"), ratio, layout)
        self.depthwise = CausalConv(under(block, "dwconv.conv"), layout, groups=block["dwconv.conv.weight"].shape[0])
        self.norm = block["norm.weight"], block["norm.bias"]
        self.widen = block["pwconv1.weight"], block["pwconv1.bias"]
        self.narrow = block["gamma"][:, None] * block["pwconv2.weight"], block["gamma"] * block["pwconv2.bias"]

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T * ratio)"""
        x = self.upsampler(x, tails)
        y = self.depthwise(x, tails).transpose(1, 2)
        y = F.layer_norm(y, y.shape[2:], *self.norm, eps=1e-6)
        return x + F.linear(F.gelu(F.linear(y, *self.widen)), *self.narrow).transpose(1, 2)


class _Block:
    """Snake, raise the rate and halve the channels, then a residual unit for each dilation."""

    def __init__(self, weights: Tensors, rate: int, layout: TailLayout) -> None:
        self.snake = Snake(under(weights, "0"))
        self.upsampler = CausalUpsampler(under(weights, "1.conv"), rate, layout)
        self.units = [
            _ResidualUnit(under(weights, f"{i}"), dilation, layout) for i, dilation in enumerate(RESIDUAL_DILATIONS, 2)
        ]

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(B, C, T) -> (B, C / 2, T * rate)"""
        x = self.upsampler(self.snake(x), tails)
        for unit in self.units:
            x = unit(x, tails)
        return x


class _ResidualUnit:
    """`x + pointwise(snake(dilated(snake(x))))`."""

    def __init__(self, weights: Tensors, dilation: int, layout: TailLayout) -> None:
        self.outer, self.inner = Snake(under(weights, "act1")), Snake(under(weights, "act2"))
        self.dilated = CausalConv(under(weights, "conv1.conv"), layout, dilation)
        self.pointwise = CausalConv(under(weights, "conv2.conv"), layout)

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)"""
        return x + self.pointwise(self.inner(self.dilated(self.outer(x), tails)), tails)
