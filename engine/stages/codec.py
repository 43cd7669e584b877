"""The codec stage: frames of codes to PCM16 for the speeches in given slots, on the device thread."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.model.codec import CodecState
from engine.model.codec_config import CodecDecoderConfig

PRIME_FRAMES = 16  # frames a call while priming: bounds the memory of one call


class Decoder(Protocol):
    """A streaming decoder over slots: plain PyTorch, or fused kernels."""

    config: CodecDecoderConfig

    def new_state(self, slots: int, device: torch.device | str, dtype: torch.dtype) -> CodecState:
        """The memory of `slots` streams and a scratch slot, all at their start."""

    def forward(self, codes: Tensor, state: CodecState, rows: Tensor) -> Tensor:
        """The next n frames of slots `rows` (B,): codes (B, n, 16) -> (B, n * 1920) in [-1, 1]; updates `state`."""


class CodecStage:
    """Owns the decoder's state of every slot.

    The stateful decoder hears the whole past of a stream. The reference implementation starts anew every 300 frames
    on 25 frames of context, fewer than its attention sees: up to there both agree, beyond it this is the better signal.
    """

    def __init__(self, decoder: Decoder, slots: int, device: torch.device, dtype: torch.dtype) -> None:
        self.decoder = decoder
        self.device = device
        self.state = decoder.new_state(slots, device, dtype)

    @torch.inference_mode()
    def reset(self, slots: Sequence[int]) -> None:
        """Put these slots at the start of a stream."""
        for slot in slots:
            self.state.reset(torch.full((1,), slot, dtype=torch.int64, device=self.device))

    @torch.inference_mode()
    def prime(self, slot: int, codes: Tensor) -> None:
        """Start `slot` anew as if it had just decoded `codes` (T, 16) int64; only frames still in memory are run."""
        self.reset([slot])
        rows, heard = self._rows([slot]), codes[-self.decoder.config.reach :].to(self.device)[None]
        for start in range(0, heard.shape[1], PRIME_FRAMES):
            self.decoder.forward(heard[:, start : start + PRIME_FRAMES], self.state, rows)

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], codes: Tensor) -> Tensor:
        """The next n frames of B different slots: codes (B, n, 16) int64 -> PCM (B, n * 1920) int16 on the device."""
        return self.forward(self._rows(slots), codes.to(self.device))

    def forward(self, rows: Tensor, codes: Tensor) -> Tensor:
        """As `decode`, for slots `rows` (B,) int64 on the device; waits for nothing, so that it can be captured."""
        return (self.decoder.forward(codes, self.state, rows) * 32767.0).round_().to(torch.int16)

    def _rows(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self.device)
