"""Codec decoder: frames of 16 codes to audio.

Strictly causal, for many streams at once.
Zero memory equals the zero padding at the start of a stream, so a stream's first frame is like any other, and frames
may come in any split and beside any other streams. Letters in shapes: B rows of this call, n new frames, S slots
with the scratch one, C channels, T samples at a layer's own rate, P samples a frame (1920 in the published codec).
Signals are (C, B, T): then a convolution is one matrix product for all rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import Tensors, under
from engine.model.codec.transformer import CodecTransformer
from engine.ops.codec import CodecState

RESIDUAL_DILATIONS = (1, 3, 9)


class CodecDecoder:
    """Decoder of the codec.

    Quantizer, transformer, and convolutions that raise the rate P-fold.
    """

    def __init__(self, config: CodecDecoderConfig, weights: Tensors) -> None:
        """`weights`: the speech tokenizer's tensors under "decoder.".

        Named without that prefix; KeyError if one is missing.
        """
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
        self.tail_size, self.dtype = layout.size, self.last.weight.dtype

    def new_state(self, slots: int, device: torch.device | str, dtype: torch.dtype) -> CodecState:
        """State of `slots` streams, all at their start.

        A scratch slot follows at index `slots`.
        """
        c, rows = self.config, slots + 1
        return CodecState(
            torch.zeros(rows, self.tail_size, device=device, dtype=dtype),
            torch.zeros(c.layers, rows, c.window - 1, 2, c.kv_heads, c.head_dim, device=device, dtype=dtype),
            torch.zeros(rows, device=device, dtype=torch.int64),
        )

    def forward(self, codes: Tensor, state: CodecState, rows: Tensor) -> Tensor:
        """Audio of the next n frames of the streams `rows`.

        rows (B,) int64 slots, codes (B, n, 16) -> (B, n * P) in [-1, 1].
        Updates `state` in place. Rows must differ, but for the scratch slot. Never waits for the device.
        """
        tails, frames = state.tails.index_select(0, rows), state.frames.index_select(0, rows)
        x = self.pre_conv(self.quantizer(codes), tails)
        x = self.transformer(x.permute(1, 2, 0), state.rings, rows, frames).permute(2, 0, 1)
        for upsample in self.upsample:
            x = upsample(x, tails)
        x = self.first(x, tails)
        for block in self.blocks:
            x = block(x, tails)
        x = self.last(self.snake(x), tails)
        state.tails.index_copy_(0, rows, tails)
        state.frames.index_copy_(0, rows, frames + codes.shape[1])
        return x.squeeze(0).clamp(-1, 1)


class TailLayout:
    """Layout of a slot's row of `CodecState.tails`."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, length: int) -> int:
        """Reserve `length` values; return their start."""
        start, self.size = self.size, self.size + length
        return start


class _Tail:
    """Latest `length` inputs of one causal layer.

    They stand before the new ones.
    """

    def __init__(self, channels: int, length: int, layout: TailLayout) -> None:
        self.channels, self.length = channels, length
        self.start = layout.take(channels * length)

    def before(self, x: Tensor, tails: Tensor) -> Tensor:
        """Prepend the tail to x.

        x (C, B, T) -> (C, B, length + T). Its end is stored in `tails` (B, tail values) in place.
        """
        tail = tails.narrow(1, self.start, self.channels * self.length).view(-1, self.channels, self.length)
        x = torch.cat((tail.transpose(0, 1), x), 2)
        tail.copy_(x[:, :, -self.length :].transpose(0, 1))
        return x


def _taps(x: Tensor, kernel: int, dilation: int) -> Tensor:
    """Inputs of each output of a convolution.

    x (C, B, T + (kernel - 1) * dilation) -> (C, kernel, B * T).
    """
    windows = x.unfold(2, (kernel - 1) * dilation + 1, 1)[..., ::dilation]  # (C, B, T, kernel)
    return windows.permute(0, 3, 1, 2).flatten(2)


class CausalConv:
    """Causal convolution, as one matrix product for all rows."""

    def __init__(self, weights: Tensors, layout: TailLayout, dilation: int = 1) -> None:
        self.weight, self.bias = weights["weight"].flatten(1), weights["bias"][:, None]  # (out, in * kernel), (out, 1)
        channels, self.kernel = weights["weight"].shape[1:]
        self.dilation = dilation
        self.tail = _Tail(channels, (self.kernel - 1) * dilation, layout)

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(in, B, T) -> (out, B, T)"""
        shape = x.shape[1:]
        if self.kernel > 1:
            x = _taps(self.tail.before(x, tails), self.kernel, self.dilation)
        return torch.addmm(self.bias, self.weight, x.reshape(self.weight.shape[1], -1)).view(-1, *shape)


class CausalDepthwise:
    """Causal convolution of each channel by itself."""

    def __init__(self, weights: Tensors, layout: TailLayout) -> None:
        self.weight, self.bias = weights["weight"], weights["bias"][:, None, None]  # (C, 1, kernel), (C, 1, 1)
        channels, _, self.kernel = self.weight.shape
        self.tail = _Tail(channels, self.kernel - 1, layout)

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(C, B, T) -> (C, B, T)"""
        taps = _taps(self.tail.before(x, tails), self.kernel, 1)
        return torch.baddbmm(self.bias, self.weight, taps).view(x.shape)


class CausalUpsampler:
    """Causal transposed convolution, run as a plain one.

    It makes `stride` samples for each input sample.
    Of kernel `k * stride`, sample `t * stride + j` is the sum over i < k of `weight[:, :, i * stride + j] x[t - i]`.
    """

    def __init__(self, weights: Tensors, stride: int, layout: TailLayout) -> None:
        self.stride = stride
        weight = weights["weight"].unflatten(2, (-1, stride)).flip(2)  # (in, out, k, stride), oldest input first
        weight = weight.permute(1, 3, 0, 2).flatten(0, 1)  # (out * stride, in, k)
        self.conv = CausalConv({"weight": weight, "bias": weights["bias"].repeat_interleave(stride)}, layout)

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(in, B, T) -> (out, B, T * stride)"""
        phases: Tensor = self.conv(x, tails).unflatten(0, (-1, self.stride))  # (out, stride, B, T)
        return phases.permute(0, 2, 3, 1).flatten(2)


class Snake:
    """SnakeBeta: `x + sin(a x)^2 / (b + 1e-9)`.

    a = exp(alpha), b = exp(beta) a channel.
    """

    def __init__(self, weights: Tensors) -> None:
        self.frequency = weights["alpha"].exp()[:, None, None]
        self.height = (1.0 / (weights["beta"].exp() + 1e-9))[:, None, None]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, (x * self.frequency).sin_().square_(), self.height)


class _Quantizer:
    """Codes to vectors, one table lookup each.

    Sum over codebooks of `projection @ (embedding_sum / usage)[code]`.
    """

    def __init__(self, config: CodecDecoderConfig, weights: Tensors) -> None:
        tables = [*_tables(under(weights, "rvq_first")), *_tables(under(weights, "rvq_rest"))]
        assert len(tables) == config.quantizers
        self.table = torch.cat(tables)  # (16 * 2048, C)
        self.starts = torch.arange(0, len(self.table), len(tables[0]), device=self.table.device)

    def __call__(self, codes: Tensor) -> Tensor:
        """(B, n, 16) -> (C, B, n)"""
        return F.embedding(codes + self.starts, self.table).sum(2).permute(2, 0, 1)


def _tables(weights: Tensors) -> list[Tensor]:
    """Projected codebooks of one residual quantizer, (2048, C) each."""
    projection = weights["output_proj.weight"].squeeze(2)  # (C, width)
    count = sum(name.endswith(".embedding_sum") for name in weights)
    books = [under(weights, f"vq.layers.{i}._codebook") for i in range(count)]
    return [(book["embedding_sum"] / book["cluster_usage"].clamp(min=1e-5)[:, None]) @ projection.T for book in books]


class _Upsample:
    """Upsampling, then a ConvNeXt block.

    Depthwise convolution, LayerNorm, two linear maps, scaled and added.
    """

    def __init__(self, weights: Tensors, ratio: int, layout: TailLayout) -> None:
        block = under(weights, "1")
        self.upsampler = CausalUpsampler(under(weights, "0.conv"), ratio, layout)
        self.depthwise = CausalDepthwise(under(block, "dwconv.conv"), layout)
        self.norm = block["norm.weight"], block["norm.bias"]
        self.widen = block["pwconv1.weight"], block["pwconv1.bias"]
        self.narrow = block["gamma"][:, None] * block["pwconv2.weight"], block["gamma"] * block["pwconv2.bias"]

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(C, B, T) -> (C, B, T * ratio)"""
        x = self.upsampler(x, tails)
        y = self.depthwise(x, tails).permute(1, 2, 0)
        y = F.layer_norm(y, y.shape[2:], *self.norm, eps=1e-6)
        return x + F.linear(F.gelu(F.linear(y, *self.widen)), *self.narrow).permute(2, 0, 1)


class _Block:
    """Snake, upsampling to half the channels, residual units.

    One unit for each dilation.
    """

    def __init__(self, weights: Tensors, rate: int, layout: TailLayout) -> None:
        self.snake = Snake(under(weights, "0"))
        self.upsampler = CausalUpsampler(under(weights, "1.conv"), rate, layout)
        self.units = [
            _ResidualUnit(under(weights, f"{i}"), dilation, layout) for i, dilation in enumerate(RESIDUAL_DILATIONS, 2)
        ]

    def __call__(self, x: Tensor, tails: Tensor) -> Tensor:
        """(C, B, T) -> (C/2, B, T * rate)"""
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
        """(C, B, T) -> (C, B, T)"""
        return x + self.pointwise(self.inner(self.dilated(self.outer(x), tails)), tails)
