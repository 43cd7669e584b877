"""The seam of codec decoders: what each keeps of its streams, and how it is called."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig


@dataclass(frozen=True, slots=True)
class CodecState:
    """What streams remember between calls, one row a slot; the last is scratch for padded rows. Zero is a start.

    tails (S, tail values): the latest inputs of every causal convolution, side by side; rings (L, S, W, 2, G, D): the
    transformer's keys and values, frame p at place p % W; frames (S,) int64: frames seen.
    """

    tails: Tensor
    rings: Tensor
    frames: Tensor

    def reset(self, rows: Tensor) -> None:
        """Put the slots `rows` (R,) at the start of a stream."""
        self.tails.index_fill_(0, rows, 0)
        self.rings.index_fill_(1, rows, 0)  # masked anyway, but a value that is not finite would shine through
        self.frames.index_fill_(0, rows, 0)

    @property
    def bytes(self) -> int:
        """Memory of all slots."""
        return self.tails.nbytes + self.rings.nbytes + self.frames.nbytes

    def saved(self, slot: int) -> "CodecState":
        """A copy of one slot, of its own memory."""
        return CodecState(self.tails[slot].clone(), self.rings[:, slot].clone(), self.frames[slot].clone())

    def restore(self, slot: int, saved: "CodecState") -> None:
        """Put a slot where another was when it was `saved`."""
        for own, kept in (
            (self.tails[slot], saved.tails),
            (self.rings[:, slot], saved.rings),
            (self.frames[slot], saved.frames),
        ):
            own.copy_(kept)
            if kept.is_cuda:
                kept.record_stream(torch.cuda.current_stream(kept.device))  # dropped meanwhile, it must stay till then


class Decoder(Protocol):
    """A streaming decoder over slots: plain PyTorch, or fused kernels."""

    config: CodecDecoderConfig
    dtype: torch.dtype  # of what its streams keep

    def new_state(self, slots: int, device: torch.device | str, dtype: torch.dtype) -> CodecState:
        """The memory of `slots` streams and a scratch slot, all at their start."""

    def forward(self, codes: Tensor, state: CodecState, rows: Tensor) -> Tensor:
        """The next n frames of slots `rows` (B,): codes (B, n, 16) -> (B, n * 1920) in [-1, 1]; updates `state`."""
