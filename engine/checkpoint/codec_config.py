"""Sizes of the audio models, from JSON.

The codec's are in speech_tokenizer/config.json, the speaker encoder's in the main config.json.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

CONVOLUTION_REACH = 12  # past frames of the decoder's convolutions: 2 before its transformer, 9.4 after it


@dataclass(frozen=True, slots=True)
class CodecDecoderConfig:
    """Parts of `decoder_config` that tensor shapes do not show."""

    quantizers: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int
    rope_theta: float
    eps: float
    upsampling_ratios: tuple[int, ...]
    upsample_rates: tuple[int, ...]

    @property
    def samples_per_frame(self) -> int:
        """Samples of one frame: 1920 in the published codec."""
        return math.prod(self.upsampling_ratios + self.upsample_rates)

    @property
    def reach(self) -> int:
        """Receptive field of the decoder in frames.

        With a longer past the state is the same, up to rounding.
        """
        return self.layers * (self.window - 1) + CONVOLUTION_REACH

    @classmethod
    def from_json(cls, data: Json) -> "CodecDecoderConfig":
        """Read the `decoder_config` object; KeyError for a missing key."""
        return cls(
            quantizers=data["num_quantizers"],
            layers=data["num_hidden_layers"],
            heads=data["num_attention_heads"],
            kv_heads=data["num_key_value_heads"],
            head_dim=data["head_dim"],
            window=data["sliding_window"],
            rope_theta=float(data["rope_theta"]),
            eps=data["rms_norm_eps"],
            upsampling_ratios=tuple(data["upsampling_ratios"]),
            upsample_rates=tuple(data["upsample_rates"]),
        )


@dataclass(frozen=True, slots=True)
class CodecEncoderConfig:
    """Parts of `encoder_config` that tensor shapes do not show.

    `quantizers`: the codebooks that are kept.
    """

    quantizers: int
    layers: int
    head_dim: int
    rope_theta: float
    eps: float
    strides: tuple[int, ...]
    residual_dilations: tuple[int, ...]

    @classmethod
    def from_json(cls, data: Json) -> "CodecEncoderConfig":
        """Read the whole file; KeyError for a missing key.

        Its `encoder_config` has the sizes.
        """
        encoder = data["encoder_config"]
        growth, residual_layers = encoder["dilation_growth_rate"], encoder["num_residual_layers"]
        return cls(
            quantizers=data["encoder_valid_num_quantizers"],
            layers=encoder["num_hidden_layers"],
            head_dim=encoder["head_dim"],
            rope_theta=float(encoder["rope_theta"]),
            eps=encoder["norm_eps"],
            strides=tuple(reversed(encoder["upsampling_ratios"])),  # listed as a decoder would run them
            residual_dilations=tuple(growth**i for i in range(residual_layers)),
        )


@dataclass(frozen=True, slots=True)
class SpeakerEncoderConfig:
    """Speaker encoder's sizes that tensor shapes do not show.

    Base checkpoints only.
    """

    sample_rate: int
    mel_dim: int
    dilations: tuple[int, ...]

    @classmethod
    def from_json(cls, data: Json) -> "SpeakerEncoderConfig":
        """Read the `speaker_encoder_config` object; KeyError for a missing key.

        The published files leave the architecture's own values out.
        """
        return cls(
            sample_rate=data["sample_rate"],
            mel_dim=data.get("mel_dim", 128),
            dilations=tuple(data.get("enc_dilations", (1, 2, 3, 4, 1))),
        )
