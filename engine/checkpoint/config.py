"""Sizes, ids of the language models, from config.json.

No default stands in for the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.api.errors import CheckpointError
from engine.checkpoint.codec_config import CodecDecoderConfig, Json

Kind = Literal["custom_voice", "voice_design", "base"]


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes of a stack of decoder layers.

    Of the talker or the code predictor.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    rope_theta: float
    eps: float

    @classmethod
    def from_json(cls, data: Json) -> "DecoderConfig":
        """Read the `talker_config` or the `code_predictor_config` object."""
        return cls(
            hidden=data["hidden_size"],
            intermediate=data["intermediate_size"],
            layers=data["num_hidden_layers"],
            heads=data["num_attention_heads"],
            kv_heads=data["num_key_value_heads"],
            head_dim=data["head_dim"],
            vocab=data["vocab_size"],
            rope_theta=float(data["rope_theta"]),
            eps=data["rms_norm_eps"],
        )


@dataclass(frozen=True, slots=True)
class CodecIds:
    """Rows of the codec embedding that are not audio."""

    pad: int
    bos: int
    eos: int
    think: int
    nothink: int
    think_bos: int
    think_eos: int


@dataclass(frozen=True, slots=True)
class TextIds:
    """Control tokens of the text vocabulary."""

    im_start: int
    im_end: int
    tts_pad: int
    tts_bos: int
    tts_eos: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Contents of config.json, without the audio models' sections."""

    kind: Kind
    size: str
    talker: DecoderConfig
    predictor: DecoderConfig
    code_groups: int
    max_positions: int
    codec: CodecIds
    text: TextIds
    languages: Mapping[str, int]
    speakers: Mapping[str, int]
    dialects: Mapping[str, str]
    frame_samples: int
    sample_rate: int

    @property
    def frame_seconds(self) -> float:
        """Audio of one codec frame."""
        return self.frame_samples / self.sample_rate

    @property
    def supports_instructions(self) -> bool:
        """Whether the model was trained with instructions.

        The 0.6B custom-voice model was not; the reference drops them there.
        """
        return self.kind == "voice_design" or (self.kind == "custom_voice" and self.size not in "0b6")

    @classmethod
    def from_json(cls, data: Json, codec: Json) -> "ModelConfig":
        """Read config.json.

        Raises `CheckpointError` when a key is missing or this is another architecture.
        """
        try:
            return cls._read(data, codec)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"config.json is not a Qwen3-TTS configuration: {error!r}") from error

    @classmethod
    def _read(cls, data: Json, codec: Json) -> "ModelConfig":
        if data.get("model_type") != "qwen3_tts":
            raise CheckpointError(f"config.json has model_type {data.get('model_type')!r}, not 'qwen3_tts'")
        if data.get("tokenizer_type") != "qwen3_tts_tokenizer_12hz":
            raise CheckpointError(f"tokenizer_type {data.get('tokenizer_type')!r} is not served, only the 12 Hz one")
        talker = data["talker_config"]
        return cls(
            kind=data["tts_model_type"],
            size=data["tts_model_size"],
            talker=DecoderConfig.from_json(talker),
            predictor=DecoderConfig.from_json(talker["code_predictor_config"]),
            code_groups=talker["num_code_groups"],
            max_positions=talker["max_position_embeddings"],
            codec=_codec_ids(talker),
            text=TextIds(
                im_start=data["im_start_token_id"],
                im_end=data["im_end_token_id"],
                tts_pad=data["tts_pad_token_id"],
                tts_bos=data["tts_bos_token_id"],
                tts_eos=data["tts_eos_token_id"],
            ),
            languages={name.lower(): row for name, row in talker["codec_language_id"].items()},
            speakers={name.lower(): row for name, row in (talker.get("spk_id") or {}).items()},
            dialects={name.lower(): d for name, d in (talker.get("spk_is_dialect") or {}).items() if d},
            frame_samples=CodecDecoderConfig.from_json(codec["decoder_config"]).samples_per_frame,
            sample_rate=codec["output_sample_rate"],
        )


def _codec_ids(talker: Json) -> CodecIds:
    return CodecIds(
        pad=talker["codec_pad_id"],
        bos=talker["codec_bos_id"],
        eos=talker["codec_eos_token_id"],
        think=talker["codec_think_id"],
        nothink=talker["codec_nothink_id"],
        think_bos=talker["codec_think_bos_id"],
        think_eos=talker["codec_think_eos_id"],
    )
