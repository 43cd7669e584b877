"""Random weights of realistic scale.

Activations keep their scale, logits are no near-ties, audio is audible and not clipped.
"""

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from engine.checkpoint.dummy.configs import Json
from engine.checkpoint.layout import Shape, codec_shapes, main_shapes

Draw = Callable[[Shape], Tensor]


def main_weights(config: Json, *, seed: int, eos_scale: float, device: torch.device) -> dict[str, Tensor]:
    """bf16 tensors of model.safetensors.

    `eos_scale` widens the end token's row: at 1.6 speeches end, at 0 never.
    """
    draw = _normal(torch.bfloat16, device, seed)
    weights = {name: _spread(name, shape, draw(shape)) for name, shape in main_shapes(config).items()}
    weights["talker.codec_head.weight"][config["talker_config"]["codec_eos_token_id"]] *= eos_scale
    return weights


def codec_weights(config: Json, *, seed: int, device: torch.device) -> dict[str, Tensor]:
    """fp32 tensors of speech_tokenizer/model.safetensors.

    The decoder's codebooks are the encoder's first ones.
    """
    draw = _normal(torch.float32, device, seed)
    shapes = codec_shapes(config)
    weights = {
        name: _codec_spread(name, shape, draw(shape)) for name, shape in shapes.items() if "codebook" not in name
    }
    books = {name: shape for name, shape in shapes.items() if name.endswith("embed_sum")}
    for name, shape in books.items():
        weights |= _codebook(name.removesuffix("embed_sum"), shape, draw)
    for name in shapes:
        if name.endswith("._codebook.embedding_sum"):
            weights |= _shared_codebook(name.removesuffix("embedding_sum"), weights)
    return weights


def _normal(dtype: torch.dtype, device: torch.device, seed: int) -> Draw:
    generator = torch.Generator(device).manual_seed(seed)
    return lambda shape: torch.randn(shape, dtype=dtype, device=device, generator=generator)


def _spread(name: str, shape: Shape, noise: Tensor) -> Tensor:
    if "norm.weight" in name:
        return noise.mul_(0.1).add_(1.0)
    if name.endswith(".bias"):
        return noise.mul_(0.05)
    if "embedding" in name:
        return noise.mul_(0.25) if "code_predictor" in name else noise
    fan = math.prod(shape[1:])
    if name.startswith("speaker_encoder"):
        return noise.mul_(math.sqrt(1.5 / fan))
    gain = 3.0 if "head" in name else 1.2
    return noise.mul_(gain / math.sqrt(fan))


def _codec_spread(name: str, shape: Shape, noise: Tensor) -> Tensor:
    if name.endswith("scale"):
        return noise.mul_(0.05).add_(0.3)
    if "norm.weight" in name:
        return noise.mul_(0.1).add_(1.0)
    if name.endswith((".alpha", ".beta", ".gamma")):
        return noise.mul_(0.2 if name.endswith("gamma") else 0.3)
    if name.endswith(".bias"):
        return noise.mul_(0.05)
    return noise.mul_(_codec_gain(name, shape) / math.sqrt(_fan_in(name, shape)))


def _codec_gain(name: str, shape: Shape) -> float:
    if shape[0] == 1:
        return 0.04  # the last convolution: audio at an rms of about 0.2
    residual = name.startswith("decoder.decoder") and ".conv2." in name
    return 0.5 if residual else 1.0


def _fan_in(name: str, shape: Shape) -> int:
    """Inputs of one output.

    Transposed convolutions are stored (in, out, kernel) and overlap kernel / stride.
    """
    if re.match(r"decoder\.upsample\.\d+\.0\.conv", name):
        return shape[0]
    if re.match(r"decoder\.decoder\.\d+\.block\.1\.conv", name):
        return 2 * shape[0]
    return math.prod(shape[1:])


def _codebook(prefix: str, shape: Shape, draw: Draw) -> dict[str, Tensor]:
    """Tensors of one codebook.

    It is stored as sums over how often each row was used; later levels are finer.
    """
    level = int(prefix.split("layers.")[1].split(".")[0]) + ("acoustic" in prefix)
    usage = draw(shape[:1]).abs_().mul_(10.0).add_(0.5)
    rows = draw(shape).mul_(0.8**level)
    initialized = torch.ones(1, device=usage.device)
    return {
        f"{prefix}initialized": initialized,
        f"{prefix}cluster_usage": usage,
        f"{prefix}embed_sum": rows.mul_(usage[:, None]),
    }


def _shared_codebook(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    part = "semantic" if "rvq_first" in prefix else "acoustic"
    level = prefix.split("layers.")[1].split(".")[0]
    source = f"encoder.quantizer.{part}_residual_vector_quantizer.layers.{level}.codebook."
    return {
        f"{prefix}cluster_usage": weights[f"{source}cluster_usage"].clone(),
        f"{prefix}embedding_sum": weights[f"{source}embed_sum"].clone(),
    }
