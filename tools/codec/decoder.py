"""Codec decoder under test: real size, random weights, on device."""

import os

import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.dummy.configs import codec_config
from engine.checkpoint.dummy.weights import codec_weights
from engine.checkpoint.tensors import under
from engine.ops.triton.codec.decoder import FusedCodecDecoder

SLOTS = 64
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
Shape = tuple[int, int]  # streams and frames of a call


def sizes() -> CodecDecoderConfig:
    """The decoder of real size."""
    return CodecDecoderConfig.from_json(codec_config("real")["decoder_config"])


def weights(device: str = DEVICE) -> dict[str, Tensor]:
    """Its random weights."""
    return under(codec_weights(codec_config("real"), seed=0, device=torch.device(device)), "decoder")


def fused(on: dict[str, Tensor] | None = None, dtype: torch.dtype = torch.float16) -> FusedCodecDecoder:
    """The fused decoder over weights on the device."""
    return FusedCodecDecoder(sizes(), on or weights(), dtype)


def random_codes(streams: int, frames: int, device: str = DEVICE) -> Tensor:
    """Codes (B, n, 16)."""
    return torch.randint(0, 2048, (streams, frames, 16), device=device)
