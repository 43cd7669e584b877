"""Codec decoder over the fused kernels, ready to be captured.

The forward of `model/codec/decoder.py`, an operation a line.
Each causal layer's input carries its past in front, put there by the kernel that writes it; `next_history` is the
memory of the next layer's past, `history` that of its own. Activations are (B, T, C); a Snake belongs to the kernel
before it.
"""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import Tensors
from engine.ops.codec import CodecState
from engine.ops.triton.codec import support
from engine.ops.triton.codec.ops import CodecOps, History, Streams, Unit
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
        packed, ops, frames = self.packed, self.ops, codes.shape[1]
        codes, on, histories = codes.contiguous(), ops.streams(rows), self._histories(state)
        history = next(histories)
        x = ops.embed(codes, packed.tables, on, history)
        x = ops.conv(x, packed.input_proj, on, history=history, raw=torch.float32, out=False)[0]
        x = self._transform(x.flatten(0, 1), state, on, frames).unflatten(0, codes.shape[:2])
        inner, first_conv = [next(histories) for _ in packed.upsamples], next(histories)
        for upsample, history in zip(packed.upsamples, inner, strict=True):
            x = self._upsample(x, upsample, on, history, first_conv if history is inner[-1] else None)
        history = next(histories)
        x = ops.conv(x, packed.first_conv, on, history=first_conv, next_history=history)[1]
        for block in packed.blocks:
            x, history = self._block(x, block, on, history, histories)
        return ops.output_conv(x, packed.output_conv, on, history, state.frames, frames)

    def _transform(self, x: Tensor, state: CodecState, on: Streams, frames: int) -> Tensor:
        """Transformer as high, low, high halves.

        x (B n, K) fp32 -> (B n, 3 latent).
        """
        ops, c = self.ops, self.config
        for layer, ring in zip(self.packed.layers, state.rings, strict=True):
            qkv = ops.linear(x, layer.qkv, norm=c.eps)
            mixed = ops.attention(qkv, ring, on, state.frames, self.packed.freqs, frames, c.window)
            x = ops.linear(mixed, layer.out, residual=x)
            hidden = ops.linear(x, layer.gate_up, norm=c.eps, gated=True)
            x = ops.linear(hidden, layer.down, residual=x)
        return ops.linear(x, self.packed.output_proj, norm=c.eps, split3=True)

    def _upsample(
        self, x: Tensor, upsample: PackedUpsample, on: Streams, history: History, next_history: History | None
    ) -> Tensor:
        """Upsampling of high, low, high halves.

        x (B, T, 3 C) -> (B, H' + rate T, 3 C).
        """
        ops = self.ops
        raw, x = ops.conv(x, upsample.transposed, on, next_history=history, raw=torch.float32)
        hidden = ops.conv(ops.depthwise_norm(x, upsample.depthwise, on, history), upsample.widen, on, gelu=True)[1]
        raw = raw.view(hidden.shape[0], hidden.shape[1], -1)
        return ops.conv(hidden, upsample.narrow, on, residual=raw, next_history=next_history, split3=True)[1]

    def _block(
        self, x: Tensor, block: PackedBlock, on: Streams, history: History, histories: Iterator[History]
    ) -> tuple[Tensor, History]:
        """One block, with the memory of its past.

        x (B, 1 + T, C) after Snake -> (B, H + rate T, C / 2) after the next Snake.
        """
        next_history = next(histories)
        raw, x = self.ops.conv(
            x, block.transposed, on, history=history, next_history=next_history, raw=self._raw(next_history.channels)
        )
        raw = raw.view(raw.shape[0], -1, next_history.channels)
        for unit in block.units:
            history, next_history = next_history, next(histories)
            raw, x = self._unit(raw, x, unit, on, history, next_history, last=unit is block.units[-1])
        return x, next_history

    def _unit(
        self, raw: Tensor, x: Tensor, unit: Unit, on: Streams, history: History, next_history: History, last: bool
    ) -> tuple[Tensor, Tensor]:
        ops = self.ops
        if unit.first.channels <= support.FUSED_CHANNELS:
            return ops.unit(x, raw, unit, on, history, next_history, raw=not last)
        middle = ops.conv(x, unit.first, on, history=history)[1]
        return ops.conv(
            middle, unit.second, on, next_history=next_history, residual=raw, raw=None if last else raw.dtype
        )

    def _raw(self, channels: int) -> torch.dtype:
        """Residual stream: fp32 in the first blocks, fp16 later.

        What is added over and over is small there, and its errors grow most.
        """
        return self.dtype if channels <= support.FUSED_CHANNELS else torch.float32

    def _histories(self, state: CodecState) -> Iterator[History]:
        starts = (0, *(end for end, _, _ in self._places))
        for start, (_, length, channels) in zip(starts, self._places, strict=False):
            yield History(state.tails[:, start : start + length * channels], length, channels)


def _places(packed: PackedCodec) -> list[tuple[int, int, int]]:
    """Memory of each causal layer's past.

    (end in a slot's row, H, C), in the order of the forward.
    """
    shapes = [(packed.input_proj.history, packed.input_proj.channels)]
    shapes += [(u.depthwise.weight.shape[0] - 1, u.depthwise.weight.shape[1]) for u in packed.upsamples]
    shapes += [(packed.first_conv.history, packed.first_conv.channels)]
    for block in packed.blocks:
        shapes += [(conv.history, conv.channels) for conv in (block.transposed, *(unit.first for unit in block.units))]
    shapes += [(packed.output_conv.history, packed.output_conv.channels)]
    ends = itertools.accumulate(-(-length * channels // ALIGNMENT) * ALIGNMENT for length, channels in shapes)
    return [(end, *shape) for end, shape in zip(ends, shapes, strict=True)]
