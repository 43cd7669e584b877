"""Codec encoder (Mimi): a recording to frames of codes.

16 codes a frame; whole recordings, one at a time.
It keeps the order of operations of the published model, because a code is the nearest of 2048 vectors and the last
bits can decide. Letters in shapes: C channels, T samples at a layer's own rate, N frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.codec_config import CodecEncoderConfig
from engine.checkpoint.tensors import Tensors, under


class CodecEncoder:
    """Encoder of the codec; rates of the published one.

    Strided causal convolutions to 25 Hz, a causal transformer, one more to 12.5 Hz, residual quantizers.
    """

    def __init__(self, config: CodecEncoderConfig, weights: Tensors) -> None:
        """`weights`: the speech tokenizer's tensors under "encoder.".

        Named without that prefix; KeyError if one is missing.
        """
        self.waves = _WaveEncoder(config, under(weights, "encoder"))
        self.transformer = _Transformer(config, under(weights, "encoder_transformer"))
        downsample = under(weights, "downsample.conv")
        self.downsample = _CausalConv(downsample, stride=downsample["weight"].shape[2] // 2, padding="replicate")
        quantizer = under(weights, "quantizer")
        self.semantic = _ResidualQuantizer(under(quantizer, "semantic_residual_vector_quantizer"))
        self.acoustic = _ResidualQuantizer(under(quantizer, "acoustic_residual_vector_quantizer"))
        self.acoustic_levels = config.quantizers - len(self.semantic.books)

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Tensor:
        """Codes (ceil(T / 1920), 16) int64 of a recording.

        Mono float32 samples (T,) at 24 kHz, T at least 1.
        """
        weight = self.downsample.weight
        x = self.waves(samples.to(weight.device, weight.dtype)[None, None])  # (1, C, T / 960)
        x = self.transformer(x.transpose(1, 2)).transpose(1, 2)
        x = self.downsample(x)
        codes = self.semantic(x, len(self.semantic.books)) + self.acoustic(x, self.acoustic_levels)
        return torch.stack(codes, 1)


class _CausalConv:
    """Convolution padded to whole strides.

    By `kernel span - stride` on the left, and on the right to a whole number of strides.
    """

    def __init__(self, weights: Tensors, stride: int = 1, dilation: int = 1, padding: str = "constant") -> None:
        self.weight, self.bias = weights["weight"], weights.get("bias")
        self.stride, self.dilation, self.padding = stride, dilation, padding
        self.left = (self.weight.shape[2] - 1) * dilation + 1 - stride

    def __call__(self, x: Tensor) -> Tensor:
        """(1, in, T) -> (1, out, ceil(T / stride))"""
        x = F.pad(x, (self.left, -x.shape[2] % self.stride), self.padding)
        y: Tensor = F.conv1d(x, self.weight, self.bias, stride=self.stride, dilation=self.dilation)
        return y


class _WaveEncoder:
    """(1, 1, T) -> (1, C, T / 960).

    For each stride, residual units then a strided convolution; ELU before each.
    """

    def __init__(self, config: CodecEncoderConfig, weights: Tensors) -> None:
        indices = sorted({int(name.split(".")[1]) for name in weights})  # the ELUs hold the indices between
        order = iter([under(weights, f"layers.{i}") for i in indices])
        self.first = _CausalConv(under(next(order), "conv"))
        self.stages = [
            (
                [_ResidualUnit(next(order), dilation) for dilation in config.residual_dilations],
                _CausalConv(under(next(order), "conv"), stride),
            )
            for stride in config.strides
        ]
        self.last = _CausalConv(under(next(order), "conv"))

    def __call__(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for units, downsample in self.stages:
            for unit in units:
                x = unit(x)
            x = downsample(F.elu(x))
        return self.last(F.elu(x))


class _ResidualUnit:
    """`x + pointwise(elu(dilated(elu(x))))`."""

    def __init__(self, weights: Tensors, dilation: int) -> None:
        self.dilated = _CausalConv(under(weights, "block.1.conv"), dilation=dilation)
        self.pointwise = _CausalConv(under(weights, "block.3.conv"))

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.pointwise(F.elu(self.dilated(F.elu(x))))


class _Transformer:
    """Causal transformer over the whole past.

    (1, T, C) -> (1, T, C). The file's sliding window is not applied by the reference.
    """

    def __init__(self, config: CodecEncoderConfig, weights: Tensors) -> None:
        self.layers = [_Layer(config, under(weights, f"layers.{i}")) for i in range(config.layers)]
        exponents = torch.arange(0, config.head_dim, 2).float() / config.head_dim
        self.frequencies = 1.0 / config.rope_theta**exponents

    def __call__(self, x: Tensor) -> Tensor:
        rope = self._rope(x)
        for layer in self.layers:
            x = layer(x, rope)
        return x

    def _rope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary tables (T, D), the halves alike."""
        angles = torch.arange(x.shape[1]).float()[:, None] * self.frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos().to(x), angles.sin().to(x)


class _Layer:
    """Pre-norm layer with layer scale.

    `x += scale * attention(norm(x))`, then `x += scale * mlp(norm(x))`.
    """

    def __init__(self, config: CodecEncoderConfig, weights: Tensors) -> None:
        self.head_dim, self.eps = config.head_dim, config.eps
        self.weights = weights

    def __call__(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        w = self.weights
        x = x + w["self_attn_layer_scale.scale"] * self._attention(self._norm(x, "input_layernorm"), rope)
        hidden = F.gelu(F.linear(self._norm(x, "post_attention_layernorm"), w["mlp.fc1.weight"]))
        return x + w["mlp_layer_scale.scale"] * F.linear(hidden, w["mlp.fc2.weight"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[2:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], self.eps)

    def _attention(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        query, key, value = (self._heads(x, name) for name in "qkv")
        mixed = F.scaled_dot_product_attention(_rotate(query, *rope), _rotate(key, *rope), value, is_causal=True)
        return F.linear(mixed.transpose(1, 2).flatten(2), self.weights["self_attn.o_proj.weight"])

    def _heads(self, x: Tensor, name: str) -> Tensor:
        """(1, T, C) -> (1, H, T, D)"""
        projected = F.linear(x, self.weights[f"self_attn.{name}_proj.weight"])
        return projected.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class _ResidualQuantizer:
    """Residual quantizer of several levels.

    Each level codes what the levels before it left, as the nearest of its vectors in fp32.
    """

    def __init__(self, weights: Tensors) -> None:
        self.projection = weights["input_proj.weight"]
        count = sum(name.endswith(".embed_sum") for name in weights)
        self.books = [_book(under(weights, f"layers.{i}.codebook")) for i in range(count)]

    def __call__(self, x: Tensor, levels: int) -> list[Tensor]:
        """(1, C, N) -> `levels` tensors of codes (N,)"""
        residual = F.conv1d(x, self.projection)[0].T  # (N, codebook width)
        codes = []
        for book in self.books[:levels]:
            codes.append(torch.cdist(residual[None].float(), book[None].float())[0].argmin(1))
            residual = residual - book[codes[-1]]
        return codes


def _book(weights: Tensors) -> Tensor:
    return weights["embed_sum"] / weights["cluster_usage"].clamp(min=1e-5)[:, None]
