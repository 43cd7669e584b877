"""Speaker encoder (ECAPA-TDNN): a recording to one vector.

The vector stands for the voice in a prompt.
Architecture: Desplanques et al., "ECAPA-TDNN", Interspeech 2020. Letters in shapes: C channels, T mel frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.codec_config import SpeakerEncoderConfig
from engine.checkpoint.tensors import Tensors, under
from engine.model.speaker.mel import LogMel


class SpeakerEncoder:
    """Res2Net blocks over log-mel frames, pooled over time.

    Three blocks with squeeze and excitation; the pooling is attentive.
    """

    def __init__(self, config: SpeakerEncoderConfig, weights: Tensors) -> None:
        """`weights`: the main file's tensors under "speaker_encoder.".

        Named without that prefix; KeyError if one is missing.
        """
        first, *inner, last = config.dilations
        self.mel = LogMel(config.sample_rate, config.mel_dim)
        self.first = _TimeDelay(under(weights, "blocks.0"), first)
        self.blocks = [_Block(under(weights, f"blocks.{i}"), dilation) for i, dilation in enumerate(inner, 1)]
        self.aggregate = _TimeDelay(under(weights, "mfa"), last)
        self.pool = _AttentivePool(under(weights, "asp"))
        self.projection = _Conv(under(weights, "fc"))

    @torch.inference_mode()
    def embed(self, samples: Tensor) -> Tensor:
        """Embedding (talker width,) of a recording, not normalised.

        Mono float32 samples (T,) at 24 kHz, T at least 1280.
        """
        weight = self.projection.weight
        return self.forward(self.mel(samples)[None].to(weight.device, weight.dtype))[0]

    def forward(self, mels: Tensor) -> Tensor:
        """Log-mel frames (B, bands, T) -> (B, talker width)."""
        x = self.first(mels)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        x = self.pool(self.aggregate(torch.cat(outputs, 1)))
        return self.projection(x)[..., 0]


class _Conv:
    """Convolution that keeps the length, the ends mirrored.

    (B, in, T) -> (B, out, T).
    """

    def __init__(self, weights: Tensors, dilation: int = 1) -> None:
        self.weight, self.bias, self.dilation = weights["weight"], weights["bias"], dilation
        self.margin = (self.weight.shape[2] - 1) * dilation // 2

    def __call__(self, x: Tensor) -> Tensor:
        if self.margin:
            x = F.pad(x, (self.margin, self.margin), "reflect")
        y: Tensor = F.conv1d(x, self.weight, self.bias, dilation=self.dilation)
        return y


class _TimeDelay:
    """Convolution over time, then ReLU."""

    def __init__(self, weights: Tensors, dilation: int = 1) -> None:
        self.conv = _Conv(under(weights, "conv"), dilation)

    def __call__(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


class _Block:
    """`x + excite(mix(res2net(mix(x))))`, all of one width."""

    def __init__(self, weights: Tensors, dilation: int) -> None:
        self.before = _TimeDelay(under(weights, "tdnn1"))
        self.res2net = _Res2Net(under(weights, "res2net_block"), dilation)
        self.after = _TimeDelay(under(weights, "tdnn2"))
        self.squeeze = _Conv(under(weights, "se_block.conv1"))
        self.excite = _Conv(under(weights, "se_block.conv2"))

    def __call__(self, x: Tensor) -> Tensor:
        y = self.after(self.res2net(self.before(x)))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean(2, keepdim=True)))))
        return y * gate + x


class _Res2Net:
    """Chained convolutions over equal groups of channels.

    The first group passes, each later one is convolved together with the result before it.
    """

    def __init__(self, weights: Tensors, dilation: int) -> None:
        count = sum(name.endswith(".conv.weight") for name in weights)
        self.blocks = [_TimeDelay(under(weights, f"blocks.{i}"), dilation) for i in range(count)]

    def __call__(self, x: Tensor) -> Tensor:
        passed, first, *groups = x.chunk(len(self.blocks) + 1, 1)
        outputs = [passed, self.blocks[0](first)]
        for block, group in zip(self.blocks[1:], groups, strict=True):
            outputs.append(block(group + outputs[-1]))
        return torch.cat(outputs, 1)


class _AttentivePool:
    """Weighted mean, deviation over time.

    (B, C, T) -> (B, 2 C, 1). The weights depend on the statistics of the whole recording.
    """

    def __init__(self, weights: Tensors) -> None:
        self.hidden = _TimeDelay(under(weights, "tdnn"))
        self.score = _Conv(under(weights, "conv"))

    def __call__(self, x: Tensor) -> Tensor:
        overall = torch.cat(_statistics(x, torch.full_like(x[:, :1], 1 / x.shape[2])), 1)
        scores = self.score(torch.tanh(self.hidden(torch.cat((x, overall.expand(-1, -1, x.shape[2])), 1))))
        return torch.cat(_statistics(x, scores.softmax(2)), 1)


def _statistics(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean, standard deviation over time, (B, C, 1) each."""
    mean = (weight * x).sum(2, keepdim=True)
    variance = (weight * (x - mean).square()).sum(2, keepdim=True)
    return mean, variance.clamp(1e-12).sqrt()
