"""Decoder stack of talker, predictor: five operations a layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.checkpoint.config import DecoderConfig
from engine.checkpoint.tensors import Tensors
from engine.ops.base import HeadNorms, Ops, Rope
from engine.ops.peers import Peers

# (layer number, qkv of the layer, the layer's head norms) -> attention output (R, H D)
Attend = Callable[[int, Tensor, HeadNorms], Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one layer.

    qkv ((H + 2 G) D, K), out (K, H D), gate_up (2 I, K), down (K, I), norms (K,).
    """

    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor
    input_norm: Tensor
    output_norm: Tensor
    heads: HeadNorms


class RotaryConfig(Protocol):
    """Parameters of rotary embedding."""

    @property
    def head_dim(self) -> int: ...

    @property
    def rope_theta(self) -> float: ...


class DecoderStack:
    """Pre-norm layers with grouped-query attention, SwiGLU.

    Keys and values live where the caller's `attend` keeps them. With `peers` the weights are a shard of them.
    """

    def __init__(
        self, config: DecoderConfig, weights: Tensors, prefix: str, ops: Ops, peers: Peers | None = None
    ) -> None:
        self.eps = config.eps
        self.layers = [_layer(weights, f"{prefix}.layers.{i}.", config.eps) for i in range(config.layers)]
        self.norm = weights[f"{prefix}.norm.weight"]
        self._ops = ops
        self._add = ops.linear_residual if peers is None else _shared(ops, peers)

    def run_layers(self, x: Tensor, attend: Attend) -> tuple[Tensor, Tensor | None]:
        """Output of all layers before the final norm.

        (R, K) -> (R, K), and after it where that has been computed on the way.
        """
        ops, eps, normed = self._ops, self.eps, None
        following = [*(layer.input_norm for layer in self.layers[1:]), self.norm]
        for number, (layer, norm) in enumerate(zip(self.layers, following, strict=True)):
            qkv = ops.norm_linear(x, layer.input_norm, layer.qkv, eps, normed)
            x, normed = self._add(attend(number, qkv, layer.heads), layer.out, x, layer.output_norm, eps)
            hidden = ops.norm_swiglu(x, layer.output_norm, layer.gate_up, eps, normed)
            x, normed = self._add(hidden, layer.down, x, norm, eps)
        return x, normed


def _shared(ops: Ops, peers: Peers) -> Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor | None]]:
    """`Ops.linear_residual` of inputs that are dealt out to peers."""

    def add(x: Tensor, weight: Tensor, residual: Tensor, norm: Tensor, eps: float) -> tuple[Tensor, Tensor | None]:
        return peers.reduce(ops.partial_linear(x, weight, peers.ranks), residual, norm, eps)

    return add


def rope_tables(config: RotaryConfig, positions: int, like: Tensor) -> Rope:
    """Rotary tables (positions, D), in the dtype of `like`.

    cos and sin of `position * theta^(-2i/D)`, fp32, then rounded.
    The talker's multimodal sections have three equal position rows, so that plain rotary embedding is the same thing.
    """
    exponents = torch.arange(0, config.head_dim, 2, device=like.device, dtype=torch.float32) / config.head_dim
    angles = torch.arange(positions, device=like.device)[:, None] / config.rope_theta**exponents
    angles = torch.cat((angles, angles), -1)
    return Rope(angles.cos().to(like.dtype), angles.sin().to(like.dtype))


def _layer(weights: Tensors, prefix: str, eps: float) -> Layer:
    def take(*names: str) -> Tensor:
        parts = [weights[f"{prefix}{name}.weight"] for name in names]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return Layer(
        qkv=take("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        out=take("self_attn.o_proj"),
        gate_up=take("mlp.gate_proj", "mlp.up_proj"),
        down=take("mlp.down_proj"),
        input_norm=take("input_layernorm"),
        output_norm=take("post_attention_layernorm"),
        heads=HeadNorms(take("self_attn.q_norm"), take("self_attn.k_norm"), eps),
    )
