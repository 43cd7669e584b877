"""Critics of complex spectrograms, the adversary of the codec.

Several resolutions (Defossez et al. 2022).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.codec.spectra import spectrum

WINDOWS = (2048, 1024, 512, 256)
CHANNELS = 16

Opinions = list[tuple[Tensor, list[Tensor]]]  # per resolution: a score everywhere, and the layers it came from


class Critics(nn.Module):
    """Audio (B, T) -> `Opinions`."""

    def __init__(self) -> None:
        super().__init__()
        self.critics = nn.ModuleList([_Critic(window) for window in WINDOWS])

    def forward(self, wave: Tensor) -> Opinions:
        return [critic(wave) for critic in self.critics]


class _Critic(nn.Module):
    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        layers = [_conv(2, CHANNELS, (3, 9))]
        layers += [_conv(CHANNELS, CHANNELS, (3, 9), stride=2, dilation=dilation) for dilation in (1, 2, 4)]
        self.layers = nn.ModuleList([*layers, _conv(CHANNELS, CHANNELS, (3, 3))])
        self.score = _conv(CHANNELS, 1, (3, 3))

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, seen = torch.view_as_real(spectrum(wave, self.window) * 30).permute(0, 3, 2, 1), []  # (B, 2, time, bins)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            seen.append(x)
        return self.score(x), seen


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], *, stride: int = 1, dilation: int = 1) -> nn.Module:
    padding = ((kernel[0] - 1) * dilation // 2, (kernel[1] - 1) // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride=(1, stride), dilation=(dilation, 1), padding=padding)
    return nn.utils.parametrizations.weight_norm(conv)


def critic_loss(real: Opinions, made: Opinions) -> Tensor:
    """Hinge: real audio above 1, made audio below -1."""
    parts = [F.relu(1 - r[0].float()).mean() + F.relu(1 + m[0].float()).mean() for r, m in zip(real, made, strict=True)]
    return torch.stack(parts).mean()


def deception_loss(made: Opinions) -> Tensor:
    """What the decoder lowers to be taken for real."""
    return torch.stack([-score.float().mean() for score, _ in made]).mean()


def likeness_loss(real: Opinions, made: Opinions) -> Tensor:
    """Distance of the critics' layers, relative to each one's size."""
    parts = [
        (of_made.float() - of_real.float()).abs().mean() / of_real.float().abs().mean().clamp(min=1e-3)
        for (_, reals), (_, mades) in zip(real, made, strict=True)
        for of_real, of_made in zip(reals, mades, strict=True)
    ]
    return torch.stack(parts).mean()
