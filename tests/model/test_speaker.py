"""Voices become the vectors that the reference makes of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.checkpoint.codec_config import Json, SpeakerEncoderConfig
from engine.checkpoint.tensors import Tensors, under
from engine.model.speaker.encoder import SpeakerEncoder
from engine.model.speaker.mel import LogMel, slaney_filters


@pytest.fixture(scope="module")
def speaker(config: Json, tensors: Tensors) -> SpeakerEncoder:
    weights = {name: tensor.float() for name, tensor in under(tensors, "speaker_encoder").items()}
    return SpeakerEncoder(SpeakerEncoderConfig.from_json(config["speaker_encoder_config"]), weights)


def tone(hertz: float, samples: int = 24_000) -> Tensor:
    return 0.5 * torch.sin(torch.arange(samples) * (2 * torch.pi * hertz / 24_000))


def recording(samples: int) -> Tensor:
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return 0.3 * torch.sin(torch.arange(samples) ** 1.2 / 30) + 0.05 * noise


@pytest.mark.parametrize("hertz", [300.0, 900.0, 3000.0, 9000.0])
def test_a_tone_is_loudest_in_the_band_around_it(hertz: float) -> None:
    filters = slaney_filters(24_000, 128)
    loudest = LogMel(24_000, 128)(tone(hertz)).mean(1).argmax()
    covered = filters[loudest].nonzero() * 24_000 / 1024
    assert covered.min() - 24 <= hertz <= covered.max() + 24


def test_mel_frames(speaker: SpeakerEncoder) -> None:
    mel = speaker.mel(torch.zeros(1920))
    assert mel.shape == (128, 7)
    assert torch.allclose(mel, torch.tensor(1e-5).log())  # silence is clamped, not minus infinity


@pytest.mark.parity
def test_filters_equal_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    expected = torch.from_numpy(librosa.filters.mel(sr=24_000, n_fft=1024, n_mels=128, fmin=0, fmax=12_000))
    assert torch.allclose(slaney_filters(24_000, 128), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parity
@pytest.mark.parametrize("samples", [1280, 1920, 4567, 24_000, 240_001])
def test_vectors_equal_the_reference(speaker: SpeakerEncoder, reference: Any, samples: int) -> None:
    audio = recording(samples)
    expected = reference.extract_speaker_embedding(audio.numpy(), 24_000)
    assert (speaker.embed(audio) - expected).norm() <= 1e-4 * expected.norm()


def test_different_voices_have_different_vectors(speaker: SpeakerEncoder) -> None:
    low, high = speaker.embed(tone(200.0)), speaker.embed(tone(2000.0))
    assert (low - high).norm() > 0.1 * low.norm()
