"""Recordings become the very codes that the reference makes of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecEncoderConfig, Json
from engine.checkpoint.tensors import Tensors, under
from engine.model.codec.encoder import CodecEncoder

LENGTHS = [1, 2, 959, 960, 961, 1919, 1920, 1921, 5000, 47_777, 240_000]


@pytest.fixture(scope="module")
def encoder(codec_config: Json, codec_tensors: Tensors) -> CodecEncoder:
    return CodecEncoder(CodecEncoderConfig.from_json(codec_config), under(codec_tensors, "encoder"))


def recording(samples: int) -> Tensor:
    """A gliding tone in noise."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return 0.3 * torch.sin(torch.arange(samples) ** 1.2 / 30) + 0.05 * noise


@pytest.mark.parametrize("samples", LENGTHS)
def test_a_frame_for_every_1920_samples_begun(encoder: CodecEncoder, samples: int) -> None:
    codes = encoder.encode(recording(samples))
    assert codes.shape == (-(-samples // 1920), 16)
    assert codes.dtype == torch.int64 and codes.min() >= 0 and codes.max() < 2048


def test_codes_depend_on_the_past_alone(encoder: CodecEncoder) -> None:
    samples = recording(20 * 1920)
    assert torch.equal(encoder.encode(samples[: 12 * 1920]), encoder.encode(samples)[:12])


@pytest.mark.parity
@pytest.mark.parametrize("samples", LENGTHS)
def test_codes_equal_the_reference(encoder: CodecEncoder, reference: Any, samples: int) -> None:
    audio = recording(samples)
    expected = reference.speech_tokenizer.encode(audio.numpy(), sr=24_000).audio_codes[0]
    assert torch.equal(encoder.encode(audio), expected)
