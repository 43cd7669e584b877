"""Packed weights of the codec decoder for the fused kernels.

Products by tap, linear maps multiplied out, scales folded in.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import Tensors, under
from engine.ops.triton.codec.ops import COLUMNS, Conv, Depthwise, Linear, Snake, Unit

DEPTHS = 128  # a weight's rows are padded to a multiple of this, the deepest tile


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """Weights of a transformer layer.

    Norms are folded into what follows them, layer scales into what precedes them.
    """

    qkv: Linear
    out: Linear
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class PackedUpsample:
    """Weights of a transposed conv without overlap, then ConvNeXt.

    gamma is folded into its last product.
    """

    transposed: Conv
    depthwise: Depthwise
    widen: Conv
    narrow: Conv


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """Weights of a transposed conv with three residual units.

    Its Snake is the first unit's.
    """

    transposed: Conv
    rate: int
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class PackedCodec:
    """All packed weights of the codec decoder.

    `tables` (G, V, C): the codebooks projected, `freqs` (D / 2,) fp64: rotary frequencies in turns.
    """

    tables: Tensor
    input_proj: Conv
    layers: tuple[PackedLayer, ...]
    output_proj: Linear
    upsamples: tuple[PackedUpsample, ...]
    first_conv: Conv
    blocks: tuple[PackedBlock, ...]
    output_conv: Conv
    freqs: Tensor


def pack(config: CodecDecoderConfig, weights: Tensors, dtype: torch.dtype, fused_channels: int) -> PackedCodec:
    """Pack `weights`: products in `dtype`, the rest in fp32.

    `weights`: the tensors under "decoder." of the speech tokenizer, without that prefix.
    Units of at most `fused_channels` have no padded columns: they run as one kernel.
    """
    return _Packer(config, {name: tensor.float() for name, tensor in weights.items()}, dtype, fused_channels).pack()


class _Packer:
    def __init__(self, config: CodecDecoderConfig, weights: Tensors, dtype: torch.dtype, fused_channels: int) -> None:
        self.config, self.weights, self.dtype, self.fused_channels = config, weights, dtype, fused_channels

    def pack(self) -> PackedCodec:
        w, c = self.weights, self.config
        blocks = range(1, len(c.upsample_rates) + 1)
        last = len(c.upsample_rates) + 1
        exponents = torch.arange(0, c.head_dim, 2, dtype=torch.float64, device=w["decoder.0.conv.weight"].device)
        return PackedCodec(
            tables=self.tables(),
            input_proj=self.input_proj(),
            layers=tuple(self.layer(under(w, f"pre_transformer.layers.{i}")) for i in range(c.layers)),
            output_proj=self.output_proj(),
            upsamples=tuple(self.upsample(under(w, f"upsample.{i}")) for i in range(len(c.upsampling_ratios))),
            first_conv=self.first_conv(),
            blocks=tuple(
                self.block(i, f"decoder.{last}" if i + 1 == last else f"decoder.{i + 1}.block.0") for i in blocks
            ),
            output_conv=self.output_conv(f"decoder.{last + 1}.conv"),
            freqs=c.rope_theta ** (-exponents / c.head_dim) / (2 * math.pi),
        )

    def tables(self) -> Tensor:
        """Codebooks (G, V, C), divided by usage, projected."""
        first, rest = under(self.weights, "quantizer.rvq_first"), under(self.weights, "quantizer.rvq_rest")
        parts = [(first, 0)] + [(rest, i) for i in range(self.config.quantizers - 1)]
        return torch.stack([_table(quantizer, number) for quantizer, number in parts])

    def input_proj(self) -> Conv:
        """pre_conv with the transformer's input projection.

        One product: both are linear and nothing stands between them.
        """
        w = self.weights
        project = w["pre_transformer.input_proj.weight"]
        weight = torch.einsum("om,mit->oit", project, w["pre_conv.conv.weight"])
        bias = project @ w["pre_conv.conv.bias"] + w["pre_transformer.input_proj.bias"]
        return self.product(self.split3(weight), bias, taps=weight.shape[2])

    def split3(self, weight: Tensor) -> Tensor:
        """Conv weight for an input that is high, low, high.

        (N, C, taps) -> (taps 3 C, N): high, high, low.
        """
        high = weight.to(self.dtype).float()
        return _by_tap(torch.cat((high, high, weight - high), 1))

    def layer(self, w: Tensors) -> PackedLayer:
        qkv = torch.cat([w[f"self_attn.{name}_proj.weight"] for name in "qkv"]) * w["input_layernorm.weight"]
        gate_up = torch.cat((w["mlp.gate_proj.weight"], w["mlp.up_proj.weight"])) * w["post_attention_layernorm.weight"]
        return PackedLayer(
            qkv=self.split(qkv),
            out=self.split(w["self_attn_layer_scale.scale"][:, None] * w["self_attn.o_proj.weight"]),
            gate_up=self.split(gate_up),
            down=self.split(w["mlp_layer_scale.scale"][:, None] * w["mlp.down_proj.weight"]),
        )

    def output_proj(self) -> Linear:
        w = under(self.weights, "pre_transformer")
        return self.split(w["output_proj.weight"] * w["norm.weight"], w["output_proj.bias"])

    def upsample(self, w: Tensors) -> PackedUpsample:
        transposed, gamma = w["0.conv.weight"], w["1.gamma"]  # (C, C, rate)
        rate = transposed.shape[2]
        return PackedUpsample(
            transposed=self.product(
                self.split3(transposed.permute(2, 1, 0).flatten(0, 1)[:, :, None]), w["0.conv.bias"].repeat(rate)
            ),
            depthwise=Depthwise(
                w["1.dwconv.conv.weight"][:, 0].T.contiguous(),
                w["1.dwconv.conv.bias"],
                w["1.norm.weight"],
                w["1.norm.bias"],
            ),
            widen=self.linear(w["1.pwconv1.weight"], w["1.pwconv1.bias"]),
            narrow=self.linear(gamma[:, None] * w["1.pwconv2.weight"], gamma * w["1.pwconv2.bias"]),
        )

    def first_conv(self) -> Conv:
        weight, bias = self.weights["decoder.0.conv.weight"], self.weights["decoder.0.conv.bias"]
        return self.product(self.split3(weight), bias, taps=weight.shape[2], snake="decoder.1.block.0")

    def block(self, number: int, following: str) -> PackedBlock:
        """Weights of block `number`.

        `following` names the Snake after it, which its last unit applies.
        """
        name = f"decoder.{number}.block"
        weight, bias = self.weights[f"{name}.1.conv.weight"], self.weights[f"{name}.1.conv.bias"]  # (C, N, 2 rate)
        rate = weight.shape[2] // 2
        now, before = weight[:, :, :rate], weight[:, :, rate:]
        products = torch.cat([part.permute(0, 2, 1).flatten(1) for part in (before, now)])  # (2 C, rate N)
        snakes = [f"{name}.3.act1", f"{name}.4.act1", following]
        columns = 1 if bias.shape[0] <= self.fused_channels else COLUMNS
        return PackedBlock(
            transposed=self.product(products, bias.repeat(rate), taps=2, snake=f"{name}.2.act1"),
            rate=rate,
            units=tuple(
                Unit(
                    self.conv(f"{name}.{i + 2}.conv1.conv", f"{name}.{i + 2}.act2", dilation=dilation, columns=columns),
                    self.conv(f"{name}.{i + 2}.conv2.conv", snakes[i], columns=columns),
                )
                for i, dilation in enumerate((1, 3, 9))
            ),
        )

    def output_conv(self, name: str) -> Conv:
        weight = self.weights[f"{name}.weight"]  # (1, C, taps)
        return Conv(
            _by_tap(weight).view(weight.shape[2], -1),
            self.weights[f"{name}.bias"],
            weight.shape[2],
            1,
            1,
            None,
            weight[0].numel(),
        )

    def conv(self, name: str, snake: str, *, dilation: int = 1, columns: int = COLUMNS) -> Conv:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.product(
            _by_tap(weight), bias, taps=weight.shape[2], dilation=dilation, snake=snake, columns=columns
        )

    def split(self, weight: Tensor, bias: Tensor | None = None) -> Linear:
        """weight (N, K) as two halves.

        The rounded, and what rounding lost.
        """
        high = weight.T.to(self.dtype)
        return Linear(high.contiguous(), (weight.T - high).to(self.dtype).contiguous(), bias)

    def linear(self, weight: Tensor, bias: Tensor) -> Conv:
        return self.product(weight.T, bias)

    def product(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        taps: int = 1,
        dilation: int = 1,
        snake: str | None = None,
        columns: int = COLUMNS,
    ) -> Conv:
        """weight (taps C, N), with padded rows, columns.

        Contiguous along its rows but for fused units.
        A Snake of fewer channels is repeated up to N.
        """
        depth, width = weight.shape
        more = -width % columns
        padded = F.pad(weight, (0, more, 0, -depth % DEPTHS)).to(self.dtype)
        padded = padded.contiguous() if columns == 1 else padded.T.contiguous().T
        repeated = self.snake(snake, width, more) if snake else None
        return Conv(padded, F.pad(bias, (0, more)), taps, dilation, width, repeated, depth)

    def snake(self, name: str, width: int, more: int) -> Snake:
        frequency = self.weights[f"{name}.alpha"].exp()
        gain = 1.0 / (self.weights[f"{name}.beta"].exp() + 1e-9)
        times = width // frequency.shape[0]
        return Snake(F.pad(frequency.repeat(times), (0, more)), F.pad(gain.repeat(times), (0, more)))


def _by_tap(weight: Tensor) -> Tensor:
    """Conv weight (N, C, taps) -> (taps C, N)."""
    return weight.permute(2, 1, 0).flatten(0, 1)


def _table(quantizer: Tensors, number: int) -> Tensor:
    book = under(quantizer, f"vq.layers.{number}._codebook")
    rows = book["embedding_sum"] / book["cluster_usage"].clamp(min=1e-5)[:, None]
    return rows @ quantizer["output_proj.weight"][:, :, 0].T
