"""Transformer of the codec decoder.

Sliding-window attention whose keys and values live in one ring a slot and layer.
Letters in shapes: B rows of this call, n new frames, L layers, S slots, W ring length (window - 1), H query heads,
G key-value heads, D head width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import Tensors, under


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of n new frames, shared by all layers.

    cos, sin (B, n, 1, D), the first half of sin negated; mask (B, 1, n, W + n) added to the scores, ring first;
    ring_rows (B * min(n, W),): ring rows, counted over all slots, that the newest frames take.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor
    ring_rows: Tensor


class CodecTransformer:
    """Pre-norm layers with layer scale between two linear maps.

    (B, n, latent) -> (B, n, latent).
    """

    def __init__(self, config: CodecDecoderConfig, weights: Tensors) -> None:
        self.ring = config.window - 1
        self.layers = [_Layer(config, under(weights, f"layers.{i}")) for i in range(config.layers)]
        self.input_weight, self.input_bias = weights["input_proj.weight"], weights["input_proj.bias"]
        self.norm, self.eps = weights["norm.weight"], config.eps
        self.output_weight, self.output_bias = weights["output_proj.weight"], weights["output_proj.bias"]
        exponents = torch.arange(0, config.head_dim, 2, device=self.norm.device).float() / config.head_dim
        self.frequencies = (1.0 / config.rope_theta**exponents).double()

    def __call__(self, x: Tensor, rings: Tensor, rows: Tensor, frames: Tensor) -> Tensor:
        """The next n frames of each row.

        `rings` (L, S, W, 2, G, D) is updated in place; `frames` (B,) counts each row's frames so far.
        """
        positions = self.positions(rows, frames, x.shape[1], x.dtype)
        x = F.linear(x, self.input_weight, self.input_bias)
        for layer, ring in zip(self.layers, rings, strict=True):
            x = layer(x, ring, rows, positions)
        return F.linear(F.rms_norm(x, self.norm.shape, self.norm, self.eps), self.output_weight, self.output_bias)

    def positions(self, rows: Tensor, frames: Tensor, n: int, dtype: torch.dtype) -> Positions:
        """Angles, mask, ring rows of the next n frames."""
        steps = torch.arange(n, device=rows.device)
        done = frames[:, None]  # (B, 1)
        cos, sin = self._rotation(done + steps, dtype)
        newest = done + steps[-self.ring :]
        ring_rows = (rows[:, None] * self.ring + newest % self.ring).flatten()
        return Positions(cos, sin, self._mask(done, steps, dtype), ring_rows)

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Rotary tables from angles in fp64.

        In fp32 the difference of two angles, which alone matters, blurs as speech grows long.
        """
        angles = positions[:, :, None, None] * self.frequencies
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)

    def _mask(self, done: Tensor, steps: Tensor, dtype: torch.dtype) -> Tensor:
        """Window of W frames before each query.

        Ring rows never written stand before frame 0.
        """
        ring = torch.arange(self.ring, device=done.device)
        past = (ring - done) % self.ring - self.ring  # (B, W): ring row r holds frame `done + past[r]`, past in -W..-1
        keys = torch.cat((past, steps.expand(len(done), -1)), 1)[:, None]  # (B, 1, W + n)
        age = steps[:, None] - keys  # (B, n, W + n)
        hidden = (age < 0) | (age > self.ring) | (keys < -done[:, None])
        return torch.zeros(age.shape, dtype=dtype, device=age.device).masked_fill_(hidden, -torch.inf)[:, None]


class _Layer:
    """Pre-norm layer; its scales are folded into weights.

    `x += scale * attention(norm(x))`, then `x += scale * swiglu(norm(x))`.
    """

    def __init__(self, config: CodecDecoderConfig, weights: Tensors) -> None:
        attention, mlp = under(weights, "self_attn"), under(weights, "mlp")
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.eps = config.eps
        self.attention_norm = weights["input_layernorm.weight"]
        self.qkv = torch.cat([attention[f"{name}_proj.weight"] for name in "qkv"])
        self.out = weights["self_attn_layer_scale.scale"][:, None] * attention["o_proj.weight"]
        self.mlp_norm = weights["post_attention_layernorm.weight"]
        self.gate_up = torch.cat((mlp["gate_proj.weight"], mlp["up_proj.weight"]))
        self.down = weights["mlp_layer_scale.scale"][:, None] * mlp["down_proj.weight"]

    def __call__(self, x: Tensor, ring: Tensor, rows: Tensor, positions: Positions) -> Tensor:
        x = x + self._attention(
            F.rms_norm(x, self.attention_norm.shape, self.attention_norm, self.eps), ring, rows, positions
        )
        return x + self._mlp(F.rms_norm(x, self.mlp_norm.shape, self.mlp_norm, self.eps))

    def _attention(self, x: Tensor, ring: Tensor, rows: Tensor, positions: Positions) -> Tensor:
        qkv = F.linear(x, self.qkv).unflatten(2, (-1, self.head_dim))  # (B, n, H + 2 G, D)
        rotated = _rotate(qkv[:, :, : -self.kv_heads], positions)
        query, key = rotated.split((self.heads, self.kv_heads), 2)
        new = torch.stack((key, qkv[:, :, -self.kv_heads :]), 2)  # (B, n, 2, G, D)
        keys, values = torch.cat((ring.index_select(0, rows), new), 1).unbind(2)  # (B, W + n, G, D)
        _remember(ring, new, positions.ring_rows)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            positions.mask,
            enable_gqa=self.heads != self.kv_heads,
        )
        return F.linear(mixed.transpose(1, 2).flatten(2), self.out)

    def _mlp(self, x: Tensor) -> Tensor:
        gate, up = F.linear(x, self.gate_up).chunk(2, -1)
        return F.linear(F.silu(gate) * up, self.down)


def _rotate(x: Tensor, positions: Positions) -> Tensor:
    """Rotary embedding of x (B, n, heads, D).

    A roll by half and the sign in `sin` make the rotated half.
    """
    return torch.addcmul(x * positions.cos, x.roll(x.shape[-1] // 2, -1), positions.sin)


def _remember(ring: Tensor, new: Tensor, ring_rows: Tensor) -> None:
    """Write the newest of `new` to their ring rows.

    new (B, n, 2, G, D), ring (S, W, 2, G, D).
    """
    newest = new[:, -ring.shape[1] :]
    ring.flatten(0, 1).index_copy_(0, ring_rows, newest.flatten(0, 1))
