"""Codec decoder over the fused kernels, ready to be captured.

The forward of `model/codec/decoder.py`, an operation a line.
Each causal layer's input carries its past in front, put there by the kernel that writes it; `then` names the memory of
the next layer's past, `home` that of its own. Activations are (B, T, C); a Snake belongs to the kernel before it.
"""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import Tensors
from engine.ops.codec import CodecState
from engine.ops.triton.codec import support
from engine.ops.triton.codec.ops import CodecOps, Home, Streams, Unit
from engine.ops.triton.codec.packing import PackedBlock, PackedCodec, PackedUpsample, pack

MOST_FRAMES = 16  # frames of one call; the ring of keys has room for them beside the window
ALIGNMENT = 64  # values; keeps every slot's row, and every past in it, at a 16-byte boundary


class FusedCodecDecoder:
    """`Decoder` of fused kernels, on a CUDA device.

    Equal to `CodecDecoder` within the rounding of the state's dtype.
    """

    def __init__(self, config: CodecDecoderConfig, weights: Tensors, dtype: torch.dtype = torch.float16) -> None:
        """`weights`: the speech tokenizer's tensors under "decoder.".

        Named without that prefix; they must fit.
        """
        assert support.misfit(config, weights) is None
        self.config, self.dtype = config, dtype
        self.packed = pack(config, weights, dtype, support.FUSED_CHANNELS)
        self.ops = CodecOps(self.packed.tables.device)
        self._places = _places(self.packed)

    def new_state(self, slots: int, device: torch.device | str, dtype: torch.dtype) -> CodecState:
        """State of `slots` streams, all at their start.

        A scratch slot follows at index `slots`.
        tails (S, values): the pasts of the causal layers side by side, (H, C) each; rings (L, S, 2, heads, ring, D).
        """
        c, rows = self.config, slots + 1
        ring = c.window - 1 + MOST_FRAMES
        return CodecState(
            torch.zeros(rows, self._places[-1][0], device=device, dtype=dtype),
            torch.zeros(c.layers, rows, 2, c.heads, ring, c.head_dim, device=device, dtype=dtype),
            torch.zeros(rows, device=device, dtype=torch.int64),
        )

    def forward(self, codes: Tensor, state: CodecState, rows: Tensor) -> Tensor:
        """Audio of the next n frames of the streams `rows`.

        rows (B,) int64 slots, codes (B, n, 16) -> (B, n * samples a frame) in [-1, 1].
        Updates `state` in place. Rows must differ, but for the scratch slot.
        """
        return self._decode(codes, state, rows, torch.float32)

    def pcm(self, codes: Tensor, state: CodecState, rows: Tensor) -> Tensor:
        """As `forward`, to int16."""
        return self._decode(codes, state, rows, torch.int16)

    def _decode(self, codes: Tensor, state: CodecState, rows: Tensor, dtype: torch.dtype) -> Tensor:
        packed, ops, frames = self.packed, self.ops, codes.shape[1]
        codes, on, homes = codes.contiguous(), ops.streams(rows), self._homes(state)
        home = next(homes)
        x = ops.embed(codes, packed.tables, on, home)
        x = ops.conv(x, packed.enter, on, home=home, raw=torch.float32, out=False)[0]
        x = self._transform(x.flatten(0, 1), state, on, frames).unflatten(0, codes.shape[:2])
        inner, opening = [next(homes) for _ in packed.upsamples], next(homes)
        for upsample, home in zip(packed.upsamples, inner, strict=True):
            x = self._upsample(x, upsample, on, home, opening if home is inner[-1] else None)
        home = next(homes)
        x = ops.conv(x, packed.opening, on, home=opening, then=home)[1]
        for block in packed.blocks:
            x, home = self._block(x, block, on, home, homes)
        return ops.wave(x, packed.wave, on, home, state.frames, frames, dtype)

    def _transform(self, x: Tensor, state: CodecState, on: Streams, frames: int) -> Tensor:
        """Transformer as high, low, high halves.

        x (B n, K) fp32 -> (B n, 3 latent).
        """
        ops, c = self.ops, self.config
        for layer, ring in zip(self.packed.layers, state.rings, strict=True):
            qkv = ops.linear(x, layer.qkv, norm=c.eps)
            mixed = ops.attention(qkv, ring, on, state.frames, self.packed.turns, frames, c.window)
            x = ops.linear(mixed, layer.out, residual=x)
            hidden = ops.linear(x, layer.gate_up, norm=c.eps, gated=True)
            x = ops.linear(hidden, layer.down, residual=x)
        return ops.linear(x, self.packed.leave, norm=c.eps, thrice=True)

    def _upsample(self, x: Tensor, upsample: PackedUpsample, on: Streams, home: Home, then: Home | None) -> Tensor:
        """Upsampling of high, low, high halves.

        x (B, T, 3 C) -> (B, H' + rate T, 3 C).
        """
        ops = self.ops
        raw, x = ops.conv(x, upsample.spread, on, then=home, raw=torch.float32)
        hidden = ops.conv(ops.depthwise_norm(x, upsample.depthwise, on, home), upsample.widen, on, gelu=True)[1]
        raw = raw.view(hidden.shape[0], hidden.shape[1], -1)
        return ops.conv(hidden, upsample.narrow, on, residual=raw, then=then, thrice=True)[1]

    def _block(
        self, x: Tensor, block: PackedBlock, on: Streams, home: Home, homes: Iterator[Home]
    ) -> tuple[Tensor, Home]:
        """One block, with the memory of its past.

        x (B, 1 + T, C) after Snake -> (B, H + rate T, C / 2) after the next Snake.
        """
        then = next(homes)
        raw, x = self.ops.conv(x, block.spread, on, home=home, then=then, raw=self._raw(then.channels))
        raw = raw.view(raw.shape[0], -1, then.channels)
        for unit in block.units:
            home, then = then, next(homes)
            raw, x = self._unit(raw, x, unit, on, home, then, last=unit is block.units[-1])
        return x, then

    def _unit(
        self, raw: Tensor, x: Tensor, unit: Unit, on: Streams, home: Home, then: Home, last: bool
    ) -> tuple[Tensor, Tensor]:
        ops = self.ops
        if unit.first.channels <= support.FUSED_CHANNELS:
            return ops.unit(x, raw, unit, on, home, then, raw=not last)
        middle = ops.conv(x, unit.first, on, home=home)[1]
        return ops.conv(middle, unit.second, on, then=then, residual=raw, raw=None if last else raw.dtype)

    def _raw(self, channels: int) -> torch.dtype:
        """Residual stream: fp32 in the first blocks, fp16 later.

        What is added over and over is small there, and its errors grow most.
        """
        return self.dtype if channels <= support.FUSED_CHANNELS else torch.float32

    def _homes(self, state: CodecState) -> Iterator[Home]:
        starts = (0, *(end for end, _, _ in self._places))
        for start, (_, length, channels) in zip(starts, self._places, strict=False):
            yield Home(state.tails[:, start : start + length * channels], length, channels)


def _places(packed: PackedCodec) -> list[tuple[int, int, int]]:
    """Memory of each causal layer's past.

    (end in a slot's row, H, C), in the order of the forward.
    """
    shapes = [(packed.enter.history, packed.enter.channels)]
    shapes += [(u.depthwise.weight.shape[0] - 1, u.depthwise.weight.shape[1]) for u in packed.upsamples]
    shapes += [(packed.opening.history, packed.opening.channels)]
    for block in packed.blocks:
        shapes += [(conv.history, conv.channels) for conv in (block.spread, *(unit.first for unit in block.units))]
    shapes += [(packed.wave.history, packed.wave.channels)]
    ends = itertools.accumulate(-(-length * channels // ALIGNMENT) * ALIGNMENT for length, channels in shapes)
    return [(end, *shape) for end, shape in zip(ends, shapes, strict=True)]
