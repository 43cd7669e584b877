"""The codec stage: frames of codes to PCM16 for the speeches in given slots, on the device thread."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.model.codec import CodecDecoder

PRIME_FRAMES = 32  # frames a call while priming: bounds the memory of one call


class CodecStage:
    """Owns the decoder's state of every slot.

    The stateful decoder hears the whole past of a stream. The reference implementation starts anew every 300 frames
    on 25 frames of context, fewer than its attention sees: up to there both agree, beyond it this is the better signal.
    """

    def __init__(self, decoder: CodecDecoder, slots: int, device: torch.device, dtype: torch.dtype) -> None:
        self.decoder = decoder
        self.device = device
        self.state = decoder.new_state(slots, device, dtype)

    @torch.inference_mode()
    def reset(self, slots: Sequence[int]) -> None:
        """Put these slots at the start of a stream."""
        self.state.reset(self._rows(slots))

    @torch.inference_mode()
    def prime(self, slot: int, codes: Tensor) -> None:
        """Start `slot` anew as if it had just decoded `codes` (T, 16) int64; only frames still in memory are run."""
        self.reset([slot])
        rows = self._rows([slot])
        for piece in codes[-self.decoder.reach :].to(self.device)[None].split(PRIME_FRAMES, 1):
            self.decoder.forward(piece, self.state, rows)

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], codes: Tensor) -> Tensor:
        """The next n frames of B different slots: codes (B, n, 16) int64 -> PCM (B, n * 1920) int16 on the device."""
        audio = self.decoder.forward(codes.to(self.device), self.state, self._rows(slots))
        return (audio * 32767.0).round_().to(torch.int16)

    def _rows(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self.device)
