"""VITS inference in the size of Piper's "medium" voices.

Kim et al. 2021, arXiv 2106.06103; for mixed lengths.
Functions over a table of weights with the names of Piper's ONNX files. Shapes: B utterances, T phonemes, F frames of
256 samples, C = 192 channels. Everything past the end of an utterance is zero at the input of each convolution, so that
an utterance sounds the same alone and in a batch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

HOP = 256  # samples a frame
SAMPLE_RATE = 22_050
Weights = Mapping[str, Tensor]

_CHANNELS, _HEADS, _WINDOW = 192, 2, 4
_BINS, _BOUND, _LEAST = 10, 5.0, 1e-3  # of the splines: bins, where they end, least width, height and slope
_STRIDES = (8, 8, 4)
_DILATIONS = {3: (1, 2), 5: (2, 6), 7: (3, 12)}  # by kernel size


@dataclass(frozen=True)
class Phonemes:
    """Encoded phonemes.

    `hidden`, `mean`, `log_scale`: (B, C, T); `mask`: (B, 1, T).
    """

    hidden: Tensor
    mean: Tensor
    log_scale: Tensor
    mask: Tensor


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """Mask (B, 1, longest) of lengths (B,), 1 within each.

    0 after an utterance's end.
    """
    return (torch.arange(longest, device=lengths.device) < lengths[:, None]).float()[:, None]


# --- text encoder ---


def encode(weights: Weights, ids: Tensor, lengths: Tensor) -> Phonemes:
    """Prior of the frames of phonemes.

    Takes ids (B, T) and lengths (B,).
    """
    mask = length_mask(lengths, ids.shape[1])
    x = F.embedding(ids, weights["enc_p.emb.weight"]).transpose(1, 2) * math.sqrt(_CHANNELS) * mask
    for layer in range(6):
        name = f"enc_p.encoder.{{}}.{layer}"
        x = _norm(weights, name.format("norm_layers_1"), x + _attend(weights, name.format("attn_layers"), x, mask))
        x = _norm(weights, name.format("norm_layers_2"), x + _feed(weights, name.format("ffn_layers"), x, mask))
    x = x * mask
    mean, log_scale = (_conv(weights, "enc_p.proj", x) * mask).chunk(2, 1)
    return Phonemes(x, mean, log_scale, mask)


def _attend(weights: Weights, name: str, x: Tensor, mask: Tensor) -> Tensor:
    """Attention with trained relative offsets up to four phonemes.

    Shaw et al. 2018.
    """
    query, key, value = (_heads(_conv(weights, f"{name}.conv_{part}", x)) for part in "qkv")  # (B, H, T, C / H)
    query = query / math.sqrt(query.shape[-1])
    place = torch.arange(x.shape[2], device=x.device)
    offset = place - place[:, None] + _WINDOW  # (T, T)
    near = (offset >= 0) & (offset <= 2 * _WINDOW)
    by_offset = query @ weights[f"{name}.emb_rel_k"][0].T  # (B, H, T, 9)
    index = offset.clamp(0, 2 * _WINDOW).expand(*by_offset.shape[:2], -1, -1)
    scores = query @ key.transpose(2, 3) + by_offset.gather(3, index) * near
    share = scores.masked_fill(mask[:, None] * mask[:, :, :, None] == 0, -1e4).softmax(-1)
    by_offset = torch.zeros_like(by_offset).scatter_add_(3, index, share * near)
    out = share @ value + by_offset @ weights[f"{name}.emb_rel_v"][0]
    return _conv(weights, f"{name}.conv_o", out.transpose(2, 3).flatten(1, 2))


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(1, (_HEADS, -1)).transpose(2, 3)


def _feed(weights: Weights, name: str, x: Tensor, mask: Tensor) -> Tensor:
    hidden = torch.relu(_conv(weights, f"{name}.conv_1", x * mask, padding=1))
    return _conv(weights, f"{name}.conv_2", hidden * mask, padding=1) * mask


# --- durations ---


def durations(weights: Weights, phonemes: Phonemes, noise: Tensor, length_scale: Tensor) -> Tensor:
    """Frames (B, T) of each phoneme.

    From noise (B, 2, T) and (B,) length scales: the predictor's flow, backwards.
    """
    mask = phonemes.mask
    given = _separable(weights, "dp.convs", _conv(weights, "dp.pre", phonemes.hidden), mask)
    given = _conv(weights, "dp.proj", given) * mask
    z = noise * mask
    for flow in (7, 5, 3):
        z = _spline_flow(weights, f"dp.flows.{flow}", z.flip(1), given, mask)
    z = (z.flip(1) - weights["dp.flows.0.m"]) * torch.exp(-weights["dp.flows.0.logs"]) * mask
    return torch.ceil(torch.exp(z[:, 0]) * mask[:, 0] * length_scale[:, None]).long()


def _separable(weights: Weights, name: str, x: Tensor, mask: Tensor) -> Tensor:
    """Three depth-separable convolutions, ever wider."""
    for layer, dilation in enumerate((1, 3, 9)):
        y = _conv(weights, f"{name}.convs_sep.{layer}", x * mask, padding=dilation, dilation=dilation, groups=_CHANNELS)
        y = F.gelu(_norm(weights, f"{name}.norms_1.{layer}", y))
        y = _conv(weights, f"{name}.convs_1x1.{layer}", y)
        x = x + F.gelu(_norm(weights, f"{name}.norms_2.{layer}", y))
    return x * mask


def _spline_flow(weights: Weights, name: str, z: Tensor, given: Tensor, mask: Tensor) -> Tensor:
    kept, bent = z.chunk(2, 1)
    hidden = _separable(weights, f"{name}.convs", _conv(weights, f"{name}.pre", kept) + given, mask)
    knots = (_conv(weights, f"{name}.proj", hidden) * mask).transpose(1, 2)  # (B, T, 29)
    scale = 1 / math.sqrt(_CHANNELS)
    widths, heights = knots[..., :_BINS] * scale, knots[..., _BINS : 2 * _BINS] * scale
    bent = unbend(bent[:, 0], widths, heights, knots[..., 2 * _BINS :])
    return torch.cat([kept, bent[:, None]], 1) * mask


def unbend(y: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor) -> Tensor:
    """Inverse of a monotonic rational-quadratic spline.

    Durkan et al. 2019, arXiv 1906.04032, equations 4 to 8. `y`: (B, T). The identity outside the bound.
    """
    x_edges, y_edges = edges(widths), edges(heights)  # (B, T, 11)
    slopes = F.pad(F.softplus(slopes) + _LEAST, (1, 1), value=1.0)
    clipped = y.clamp(-_BOUND, _BOUND)[..., None]
    last = y_edges[..., -1:] + 1e-6
    place = (clipped >= torch.cat([y_edges[..., :-1], last], -1)).sum(-1, keepdim=True) - 1

    def at(table: Tensor, step: int = 0) -> Tensor:
        return table.gather(-1, place + step)

    left, low = at(x_edges), at(y_edges)
    width, height = at(x_edges, 1) - left, at(y_edges, 1) - low
    first, second, mean = at(slopes), at(slopes, 1), height / width
    rise = clipped - low
    bow = rise * (first + second - 2 * mean)
    a, b, c = height * (mean - first) + bow, height * first - bow, -mean * rise
    root = 2 * c / (-b - torch.sqrt(b * b - 4 * a * c))
    return torch.where(y.abs() <= _BOUND, (root * width + left)[..., 0], y)


def edges(sizes: Tensor) -> Tensor:
    """Rising edges of the bins, (..., 11).

    `sizes`: (..., 10) free numbers. From one bound to the other.
    """
    shares = _LEAST + (1 - _LEAST * _BINS) * sizes.softmax(-1)
    return F.pad(shares.cumsum(-1), (1, 0)) * 2 * _BOUND - _BOUND


# --- from phonemes to frames ---


def owners(frames: Tensor, longest: int) -> Tensor:
    """Index of each frame's phoneme, (B, longest).

    `frames`: (B, T) frames a phoneme.
    """
    places = torch.arange(longest, device=frames.device).expand(len(frames), -1).contiguous()
    return torch.searchsorted(frames.cumsum(1), places, right=True).clamp_max(frames.shape[1] - 1)


def prior(phonemes: Phonemes, owner: Tensor, lengths: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Sample of the prior, (B, C, F), with its mask.

    Of `lengths` (B,) frames with owners and noise that is scaled.
    """
    mask = length_mask(lengths, noise.shape[2])
    index = owner[:, None].expand(-1, _CHANNELS, -1)
    return (phonemes.mean.gather(2, index) + noise * phonemes.log_scale.gather(2, index).exp()) * mask, mask


def unflow(weights: Weights, z: Tensor, mask: Tensor) -> Tensor:
    """Latent frames of a sample of the prior.

    `z`: (B, C, F). The normalising flow, backwards.
    """
    for flow in (6, 4, 2, 0):
        name = f"flow.flows.{flow}"
        kept, moved = z.flip(1).chunk(2, 1)
        hidden = _gated(weights, f"{name}.enc", _conv(weights, f"{name}.pre", kept) * mask, mask)
        z = torch.cat([kept, (moved - _conv(weights, f"{name}.post", hidden)) * mask], 1)
    return z


def _gated(weights: Weights, name: str, x: Tensor, mask: Tensor) -> Tensor:
    """Four gated convolutions, as in WaveNet."""
    out = torch.zeros_like(x)
    for layer in range(4):
        signal, gate = _conv(weights, f"{name}.in_layers.{layer}", x, padding=2).chunk(2, 1)
        both = _conv(weights, f"{name}.res_skip_layers.{layer}", torch.tanh(signal) * torch.sigmoid(gate))
        if layer < 3:
            x = (x + both[:, :_CHANNELS]) * mask
        out = out + both[:, -_CHANNELS:]
    return out * mask


# --- vocoder ---


def waveform(weights: Weights, z: Tensor, mask: Tensor) -> Tensor:
    """Samples (B, 256 F) from latent frames (B, C, F).

    HiFi-GAN's generator; from -1 to 1.
    """
    x = _conv(weights, "dec.conv_pre", z * mask, padding=3)
    for stage, stride in enumerate(_STRIDES):
        x = F.leaky_relu(x, 0.1) * mask
        name, kernel = f"dec.ups.{stage}", weights[f"dec.ups.{stage}.weight"]
        x = F.conv_transpose1d(x, kernel, weights[f"{name}.bias"], stride, (kernel.shape[2] - stride) // 2)
        mask = mask.repeat_interleave(stride, 2)
        x = sum(
            (_residual(weights, f"dec.resblocks.{3 * stage + block}", x, mask) for block in range(3)), x.new_zeros(())
        )
        x = x / 3
    x = _conv(weights, "dec.conv_post", F.leaky_relu(x, 0.01) * mask, padding=3)
    return (torch.tanh(x) * mask)[:, 0]


def _residual(weights: Weights, name: str, x: Tensor, mask: Tensor) -> Tensor:
    size = weights[f"{name}.convs.0.weight"].shape[2]
    for layer, dilation in enumerate(_DILATIONS[size]):
        y = F.leaky_relu(x, 0.1) * mask
        x = x + _conv(weights, f"{name}.convs.{layer}", y, padding=dilation * (size // 2), dilation=dilation)
    return x


# --- shared ---


def _conv(weights: Weights, name: str, x: Tensor, padding: int = 0, dilation: int = 1, groups: int = 1) -> Tensor:
    return F.conv1d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), 1, padding, dilation, groups)


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Layer norm over the channels of (B, C, T)."""
    size: Sequence[int] = (x.shape[1],)
    return F.layer_norm(x.transpose(1, 2), size, weights[f"{name}.gamma"], weights[f"{name}.beta"]).transpose(1, 2)
