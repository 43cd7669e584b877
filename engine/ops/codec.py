"""Interface of codec decoders: state of streams, decoder."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig


@dataclass(frozen=True, slots=True)
class CodecState:
    """State of streams between calls, one row a slot.

    The last row is scratch for padded rows. Zero is the start of a stream.
    tails (S, tail values): the latest inputs of every causal convolution, side by side; rings (L, S, W, 2, G, D): the
    transformer's keys and values, frame p in ring row p % W; frames (S,) int64: frames decoded so far.
    """

    tails: Tensor
    rings: Tensor
    frames: Tensor

    def reset(self, rows: Tensor) -> None:
        """Put slots `rows` (R,) at a stream's start."""
        self.tails.index_fill_(0, rows, 0)
        self.rings.index_fill_(1, rows, 0)  # masked anyway, but values that are not finite would leak through
        self.frames.index_fill_(0, rows, 0)

    @property
    def bytes(self) -> int:
        """Memory of all slots."""
        return self.tails.nbytes + self.rings.nbytes + self.frames.nbytes

    def saved(self, slot: int) -> "CodecState":
        """Copy of one slot, in memory of its own."""
        return CodecState(self.tails[slot].clone(), self.rings[:, slot].clone(), self.frames[slot].clone())

    def restore(self, slot: int, saved: "CodecState") -> None:
        """Restore a slot from a `saved` one."""
        for own, kept in (
            (self.tails[slot], saved.tails),
            (self.rings[:, slot], saved.rings),
            (self.frames[slot], saved.frames),
        ):
            own.copy_(kept)
            if kept.is_cuda:
                kept.record_stream(
                    torch.cuda.current_stream(kept.device)
                )  # if dropped meanwhile, it must live till then


class Decoder(Protocol):
    """Streaming decoder over slots.

    Plain PyTorch, or fused kernels.
    """

    config: CodecDecoderConfig
    dtype: torch.dtype  # of the streams' state

    def new_state(self, slots: int, device: torch.device | str, dtype: torch.dtype) -> CodecState:
        """State of `slots` streams, all at their start.

        A scratch slot follows.
        """

    def forward(self, codes: Tensor, state: CodecState, rows: Tensor) -> Tensor:
        """Audio of the next n frames of slots `rows` (B,).

        codes (B, n, 16) -> (B, n * samples a frame) in [-1, 1]; updates `state`.
        """
