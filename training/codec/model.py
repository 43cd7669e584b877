"""Codec as trainable modules with a speech tokenizer's parameter names.

Whole recordings, no state: zero padding on the left is what a stream's empty memory is to the engine. Signals are
(B, channels, T). Architecture: Mimi's encoder, a split residual quantizer, a transformer of few layers and a
convolutional decoder with snake activations; the layout of Qwen3-TTS's 12 Hz codec, at other widths.
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.checkpoint.codec_config import CodecDecoderConfig, CodecEncoderConfig
from engine.checkpoint.dummy.configs import Json
from engine.model.layers import rope_tables
from engine.ops.base import Rope
from engine.ops.reference import rotate
from training.codec.quantizer import Quantized, SplitQuantizer


def _snake(x: Tensor, frequency: Tensor, height: Tensor) -> Tensor:
    return (x + height * torch.sin(frequency * x).square()).to(x.dtype)


@cache
def _snake_kernel() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Snake kernel, compiled at its first use.

    The compiler's import alone takes seconds.
    """
    return torch.compile(_snake, dynamic=True)


class Codec(nn.Module):
    """Encoder, quantizer, decoder; `forward` goes all the way round."""

    def __init__(self, config: Json) -> None:
        super().__init__()
        decoder, encoder = config["decoder_config"], config["encoder_config"]
        self.encoder = Encoder(config)
        self.quantizer = SplitQuantizer(
            inputs=encoder["hidden_size"],
            width=encoder["codebook_dim"],
            outputs=decoder["codebook_dim"],
            entries=decoder["codebook_size"],
            levels=decoder["num_quantizers"],
        )
        self.decoder = Decoder(decoder)

    def forward(self, wave: Tensor, free: bool = False) -> tuple[Tensor, Quantized]:
        """Audio (B, T) after the round trip, with its `Quantized`.

        T is a multiple of the frame. `free`: nothing is quantized.
        """
        quantized = self.quantizer(self.encoder(wave), free)
        return self.decoder(quantized.vectors), quantized


@torch.no_grad()
def initialise(codec: Codec) -> None:
    """Weights that keep the size of signals; no biases.

    With PyTorch's own a recording reaches the quantizer at a fifteenth of its strength, three times weaker than the
    biases on its way, and entries of a codebook all fall together.
    """
    for layer in codec.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, _inputs(layer) ** -0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for unit in codec.modules():
        if isinstance(unit, _ResidualUnit):
            unit.conv2.conv.weight.mul_(0.3)
        if isinstance(unit, _EncoderUnit):
            unit.block[3].conv.weight.mul_(0.3)
    codec.encoder.encoder["layers"][0].conv.weight.mul_(10)
    codec.decoder.decoder[-1].conv.weight.mul_(0.05)  # speech is that quiet


def _inputs(layer: nn.Conv1d | nn.ConvTranspose1d | nn.Linear) -> float:
    """How many values an output is the sum of."""
    if isinstance(layer, nn.ConvTranspose1d):
        return layer.weight.shape[0] * layer.weight.shape[2] / layer.stride[0]
    return layer.weight[0].numel()


class CausalConv(nn.Module):
    """Convolution after `kernel span - stride` zeros or first values.

    The padding stands before the signal.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding: str = "constant",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, dilation=dilation, groups=groups, bias=bias)
        self.left, self.padding = (kernel - 1) * dilation + 1 - stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, T) -> (B, out, T / stride)"""
        y: Tensor = self.conv(F.pad(x, (self.left, 0), self.padding))
        return y


class CausalUpsampler(nn.Module):
    """Transposed convolution without samples that would need later input."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, kernel, stride)
        self.cut = kernel - stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, T) -> (B, out, T * stride)"""
        y: Tensor = self.conv(x)
        return y[..., : y.shape[2] - self.cut]


class Snake(nn.Module):
    """`x + sin(exp(alpha) x)^2 / exp(beta)` a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)"""
        snake = _snake_kernel() if x.is_cuda else _snake  # compiling takes longer than a small run on a CPU
        y: Tensor = snake(x, self.alpha.exp()[:, None], 1 / (self.beta.exp()[:, None] + 1e-9))
        return y


class _EncoderUnit(nn.Module):
    """`x + pointwise(elu(dilated(elu(x))))`, with the published file's names."""

    def __init__(self, channels: int, narrow: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            [
                nn.ELU(),
                CausalConv(channels, narrow, kernel, dilation=dilation),
                nn.ELU(),
                CausalConv(narrow, channels, 1),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.block:
            y = layer(y)
        return x + y


class Encoder(nn.Module):
    """(B, T) -> (B, hidden, T / 1920).

    Convolutions alone: it has no transformer layers, so its reach is short.
    """

    def __init__(self, config: Json) -> None:
        super().__init__()
        c, sizes = config["encoder_config"], CodecEncoderConfig.from_json(config)
        assert sizes.layers == 0
        width = c["num_filters"]
        layers: list[nn.Module] = [CausalConv(1, width, c["kernel_size"])]
        for stride in sizes.strides:
            for dilation in sizes.residual_dilations:
                layers.append(_EncoderUnit(width, width // c["compress"], c["residual_kernel_size"], dilation))
            layers += [nn.ELU(), CausalConv(width, 2 * width, 2 * stride, stride=stride)]
            width *= 2
        layers += [nn.ELU(), CausalConv(width, c["hidden_size"], c["last_kernel_size"])]
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.downsample = CausalConv(c["hidden_size"], c["hidden_size"], 4, stride=2, bias=False, padding="replicate")

    def forward(self, wave: Tensor) -> Tensor:
        x = wave[:, None]
        for layer in self.encoder["layers"]:  # type: ignore[attr-defined]
            x = layer(x)
        y: Tensor = self.downsample(x)
        return y


class Decoder(nn.Module):
    """Codec decoder, (B, codebook dim, N) -> (B, 1920 N).

    Audio lies in [-1, 1].
    """

    def __init__(self, config: Json) -> None:
        super().__init__()
        sizes, latent, width = CodecDecoderConfig.from_json(config), config["latent_dim"], config["decoder_dim"]
        self.pre_conv = CausalConv(config["codebook_dim"], latent, 3)
        self.pre_transformer = _Transformer(config)
        self.upsample = nn.ModuleList(
            [
                nn.ModuleList([CausalUpsampler(latent, latent, ratio, ratio), _ConvNeXt(latent)])
                for ratio in sizes.upsampling_ratios
            ]
        )
        stages: list[nn.Module] = [CausalConv(latent, width, 7)]
        for rate in sizes.upsample_rates:
            stages.append(_DecoderBlock(width, rate))
            width //= 2
        self.decoder = nn.ModuleList([*stages, Snake(width), CausalConv(width, 1, 7)])

    def forward(self, vectors: Tensor) -> Tensor:
        x = self.pre_transformer(self.pre_conv(vectors).transpose(1, 2)).transpose(1, 2)
        for stage in self.upsample:
            for layer in stage:  # type: ignore[attr-defined]
                x = layer(x)
        for layer in self.decoder:
            x = layer(x)
        return x.squeeze(1).clamp(-1, 1)


class _ConvNeXt(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), 0.1))
        self.dwconv = CausalConv(channels, channels, 7, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).transpose(1, 2))
        y = self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + (self.gamma * y).transpose(1, 2)


class _ResidualUnit(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.act1, self.act2 = Snake(channels), Snake(channels)
        self.conv1, self.conv2 = CausalConv(channels, channels, 7, dilation=dilation), CausalConv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.act2(self.conv1(self.act1(x))))
        return x + y


class _DecoderBlock(nn.Module):
    def __init__(self, channels: int, rate: int) -> None:
        super().__init__()
        half = channels // 2
        units = [_ResidualUnit(half, dilation) for dilation in (1, 3, 9)]
        self.block = nn.ModuleList([Snake(channels), CausalUpsampler(channels, half, 2 * rate, rate), *units])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.block:
            x = layer(x)
        return x


class _Transformer(nn.Module):
    """(B, N, latent) -> the same, causal within `window` frames."""

    def __init__(self, config: Json) -> None:
        super().__init__()
        latent, hidden = config["latent_dim"], config["hidden_size"]
        self.input_proj, self.output_proj = nn.Linear(latent, hidden), nn.Linear(hidden, latent)
        self.layers = nn.ModuleList([_TransformerLayer(config) for _ in range(config["num_hidden_layers"])])
        self.norm = RMSNorm(hidden, config["rms_norm_eps"])
        self.sizes = CodecDecoderConfig.from_json(config)

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1], device=x.device)
        age = steps[:, None] - steps
        seen = (age >= 0) & (age < self.sizes.window)
        rope = rope_tables(self.sizes, x.shape[1], x)
        x = self.input_proj(x)
        for layer in self.layers:
            x = layer(x, rope, seen)
        y: Tensor = self.output_proj(self.norm(x))
        return y


class _TransformerLayer(nn.Module):
    def __init__(self, config: Json) -> None:
        super().__init__()
        hidden, eps = config["hidden_size"], config["rms_norm_eps"]
        self.head_dim = config["head_dim"]
        inner = config["num_attention_heads"] * self.head_dim
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(hidden, eps), RMSNorm(hidden, eps)
        self.self_attn = nn.ModuleDict({f"{name}_proj": nn.Linear(hidden, inner, bias=False) for name in "qkv"})
        self.self_attn["o_proj"] = nn.Linear(inner, hidden, bias=False)
        self.mlp = swiglu(hidden, config["intermediate_size"])
        self.self_attn_layer_scale, self.mlp_layer_scale = _Scale(hidden), _Scale(hidden)

    def forward(self, x: Tensor, rope: Rope, seen: Tensor) -> Tensor:
        y, attention, mlp = self.input_layernorm(x), self.self_attn, self.mlp
        query, key, value = (attention[f"{name}_proj"](y).unflatten(2, (-1, self.head_dim)) for name in "qkv")
        mixed = attend(query, key, value, rope, seen)
        x = x + self.self_attn_layer_scale(attention["o_proj"](mixed))
        y = self.post_attention_layernorm(x)
        return x + self.mlp_layer_scale(mlp["down_proj"](F.silu(mlp["gate_proj"](y)) * mlp["up_proj"](y)))


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class RMSNorm(nn.RMSNorm):
    """RMS norm with its weight in the input's dtype.

    Mixed precision has one kernel for equal dtypes, and none for two.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)"""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def swiglu(hidden: int, inner: int) -> nn.ModuleDict:
    """Gated MLP's three maps, under their usual names."""
    return nn.ModuleDict(
        {
            "gate_proj": nn.Linear(hidden, inner, bias=False),
            "up_proj": nn.Linear(hidden, inner, bias=False),
            "down_proj": nn.Linear(inner, hidden, bias=False),
        }
    )


def attend(query: Tensor, key: Tensor, value: Tensor, rope: Rope, seen: Tensor | None = None) -> Tensor:
    """Rotated attention, (B, T, heads, D) -> (B, T, width).

    Width is heads * D; key heads are shared; causal if `seen` is None.
    """
    query, key = (rotate(part, rope, slice(None)).to(value.dtype) for part in (query, key))
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, seen, is_causal=seen is None, enable_gqa=True)
    return mixed.transpose(1, 2).flatten(2)
