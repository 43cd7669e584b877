"""Split residual quantizer with codebooks of moving averages.

Level 0 has a projection of its own, so that it can be trained to carry phonemes; the other levels code, one after the
other, what is left of a second projection. Codebooks are kept as sums over counts, as they are stored. Unused entries
are put where data is. (van den Oord et al. 2017, appendix A.1; Zeghidour et al. 2021.)
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DECAY = 0.99
LEAST_USE = 0.05  # of an average entry's: with less than this an entry is moved
WHOLE = 0.8  # share of steps in which all levels are heard: that is what is served


@dataclass(frozen=True, slots=True)
class Quantized:
    """Result of the quantizer.

    codes (B, N, levels); vectors (B, outputs, N) for the decoder; semantic (B, N, width), the first level's own;
    commitment: how far the encoder's output lies from what was chosen.
    """

    codes: Tensor
    vectors: Tensor
    semantic: Tensor
    commitment: Tensor


class SplitQuantizer(nn.Module):
    """(B, inputs, N) -> `Quantized`.

    In training it updates its codebooks and drops later levels at times.
    """

    def __init__(self, inputs: int, width: int, outputs: int, entries: int, levels: int) -> None:
        super().__init__()
        self.semantic = _Residual(inputs, width, outputs, entries, 1)
        self.acoustic = _Residual(inputs, width, outputs, entries, levels - 1)

    def forward(self, x: Tensor, free: bool = False) -> Quantized:
        """Quantize; `free` passes everything on unquantized.

        That is for the start of training, when no codebook could follow.
        """
        with torch.autocast(x.device.type, enabled=False):  # nearest entries are a matter of the last bits
            x = x.transpose(1, 2).float()
            return self._free(x) if free else self._quantized(x)

    def _free(self, x: Tensor) -> Quantized:
        first, rest = self.semantic.input_proj(x), self.acoustic.input_proj(x)
        vectors = self.semantic.output_proj(first) + self.acoustic.output_proj(rest)
        return Quantized(x.new_empty(0), vectors.transpose(1, 2), first, x.new_zeros(()))

    def _quantized(self, x: Tensor) -> Quantized:
        first, code, near = self.semantic(x, None)
        kept = levels_heard(len(self.acoustic.books), x.device) if self.training else None
        rest, codes, far = self.acoustic(x, kept)
        vectors = self.semantic.output_proj(first) + self.acoustic.output_proj(rest)
        return Quantized(torch.cat((code, codes), -1), vectors.transpose(1, 2), first, near + far)

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, N, levels) -> (B, outputs, N)."""
        first, rest = self.semantic.look_up(codes[..., :1]), self.acoustic.look_up(codes[..., 1:])
        return (self.semantic.output_proj(first) + self.acoustic.output_proj(rest)).transpose(1, 2)


def levels_heard(levels: int, device: torch.device) -> Tensor:
    """Number of levels used this time, shape (), on device.

    Mostly all, else any number from one.
    """
    some = torch.randint(1, levels + 1, (), device=device)
    return torch.where(torch.rand((), device=device) < WHOLE, levels, some)


class _Residual(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int, entries: int, levels: int) -> None:
        super().__init__()
        self.input_proj = nn.Linear(inputs, width, bias=False)
        self.output_proj = nn.Linear(width, outputs, bias=False)
        self.books = nn.ModuleList([Codebook(entries, width) for _ in range(levels)])

    def forward(self, x: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of chosen vectors, all codes, the commitment loss.

        The sum has the gradient of `x` projected. Only the first `kept` () levels add to it; the codes of the others
        are made all the same.
        """
        target = self.input_proj(x)
        residual, total, codes = target.detach(), torch.zeros_like(target), []
        for level, book in enumerate(self.books):
            code = book(residual)
            chosen = F.embedding(code, book.vectors)
            residual = residual - chosen
            total = total + (chosen if kept is None else chosen * (level < kept))
            codes.append(code)
        commitment = F.mse_loss(target, total)
        return target + (total - target).detach(), torch.stack(codes, -1), commitment

    def look_up(self, codes: Tensor) -> Tensor:
        """codes (B, N, levels) -> (B, N, width)"""
        parts = [F.embedding(codes[..., level], book.vectors) for level, book in enumerate(self.books)]
        return torch.stack(parts).sum(0)


class Codebook(nn.Module):
    """Entries as moving averages; `vectors` (entries, width)."""

    usage: Tensor
    sums: Tensor

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.register_buffer("usage", torch.zeros(entries))
        self.register_buffer("sums", torch.zeros(entries, width))
        self._placed = False

    @property
    def vectors(self) -> Tensor:
        return self.sums / self.usage.clamp(min=1e-5)[:, None]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Nearest entry of each of x (B, N, width).

        In training, the entries move.
        """
        flat = x.flatten(0, -2).float()
        if not self._placed:
            self._start(flat)
        codes = torch.cdist(flat, self.vectors).argmin(1)
        if self.training:
            self._follow(flat, codes)
        return codes.view(x.shape[:-1])

    def _start(self, x: Tensor) -> None:
        """Start unplaced entries at points of the first batch.

        Loaded entries count as placed. The test waits for the device: only the first batch makes it.
        """
        if not bool(self.usage.any()):
            self._place(torch.ones_like(self.usage, dtype=torch.bool), x)
        self._placed = True

    def _follow(self, x: Tensor, codes: Tensor) -> None:
        members = (codes[:, None] == torch.arange(len(self.usage), device=codes.device)).to(x.dtype)
        self.usage.lerp_(members.sum(0), 1 - DECAY)
        self.sums.lerp_(members.T @ x, 1 - DECAY)
        self._place(self.usage < LEAST_USE * len(x) / len(self.usage), x)

    def _place(self, unused: Tensor, x: Tensor) -> None:
        """Move unused entries to points of the batch.

        Each gets the use of an average entry.
        """
        points = x[torch.randint(len(x), (len(self.usage),), device=x.device)]
        points = points + 1e-3 * torch.randn_like(points)
        count = len(x) / len(self.usage)
        self.sums.copy_(torch.where(unused[:, None], points * count, self.sums))
        self.usage.copy_(torch.where(unused, count, self.usage))
