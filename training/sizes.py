"""Configurations of the embedded voice, for one CPU core."""

from engine.checkpoint.config import ModelConfig
from engine.checkpoint.dummy.configs import GENERATION, Json, codec_config, main_config, merged

VOICES = ("joe", "slt")  # rows of the speaker table, in this order
CODEBOOK = 512
GROUPS = 8
SAMPLE_RATE = 24_000
FRAME_SAMPLES = 1_920

_IDS = ("pad", "bos", "eos_token", "think", "nothink", "think_bos", "think_eos")  # rows after the audio codes
_ENGLISH = CODEBOOK + len(_IDS)

_PREDICTOR = {
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 3,
    "layer_types": ["full_attention"] * 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "num_code_groups": GROUPS,
    "vocab_size": CODEBOOK,
    "max_position_embeddings": 64,
}
_TALKER = {
    "hidden_size": 384,
    "intermediate_size": 864,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "num_code_groups": GROUPS,
    "text_hidden_size": 384,
    "vocab_size": _ENGLISH + 1 + len(VOICES),
    "max_position_embeddings": 8192,
    "rope_theta": 100_000,
    "rope_scaling": {"interleaved": True, "mrope_section": [12, 10, 10], "rope_type": "default", "type": "default"},
    **{f"codec_{name}_id": CODEBOOK + place for place, name in enumerate(_IDS)},
}
_DECODER = {
    "codebook_dim": 128,
    "codebook_size": CODEBOOK,
    "decoder_dim": 256,  # halved four times and still a multiple of 8, as tensor cores need it
    "head_dim": 64,
    "hidden_size": 192,
    "intermediate_size": 384,
    "latent_dim": 192,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "num_key_value_heads": 3,
    "num_quantizers": GROUPS,
    "sliding_window": 16,
    "vector_quantization_hidden_dimension": 128,
}
_ENCODER = {  # local on purpose: codes of a piece of a recording are those of the whole
    "codebook_dim": 64,
    "codebook_size": CODEBOOK,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_filters": 24,
    "num_hidden_layers": 0,
    "num_key_value_heads": 4,
    "num_quantizers": GROUPS,
    "upsample_groups": 256,
    "vector_quantization_hidden_dimension": 64,
}


_SPEAKER = {
    "enc_channels": [128, 128, 128, 128, 384],
    "enc_attention_channels": 64,
    "enc_se_channels": 64,
    "enc_res2net_scale": 8,
}


def talker_config(text_ids: Json, text_rows: int) -> Json:
    """config.json of the built-in voices, with the tokenizer's ids."""
    config = _config("0.6B-CustomVoice", text_ids, text_rows)
    config["talker_config"]["spk_id"] = {name: _ENGLISH + 1 + place for place, name in enumerate(VOICES)}
    config["talker_config"]["spk_is_dialect"] = dict.fromkeys(VOICES, False)
    return config


def clone_config(text_ids: Json, text_rows: int) -> Json:
    """config.json of the cloning checkpoint, whose talker is the same."""
    config = _config("0.6B-Base", text_ids, text_rows)
    config["speaker_encoder_config"] |= _SPEAKER
    return config


def _config(kind: str, text_ids: Json, text_rows: int) -> Json:
    """config.json of this kind, at the embedded voice's sizes.

    The named model size is one for which, as with 0.6B, instructions are left out.
    """
    config = merged(main_config(kind, "tiny", text_ids, text_rows), {"talker_config": _TALKER})
    talker = config["talker_config"]
    talker["code_predictor_config"] |= _PREDICTOR
    talker["codec_language_id"] = {"english": _ENGLISH}
    if "speaker_encoder_config" in config:
        config["speaker_encoder_config"]["enc_dim"] = talker["hidden_size"]
    return config | {"tts_model_size": "0b"}


def tokenizer_config() -> Json:
    """speech_tokenizer/config.json."""
    config = merged(codec_config("tiny"), {"decoder_config": _DECODER, "encoder_config": _ENCODER})
    return config | {"encoder_valid_num_quantizers": GROUPS}


def model_config(config: Json) -> ModelConfig:
    """A talker's `config` with this codec."""
    return ModelConfig.from_json(config, tokenizer_config())


def generation_config() -> Json:
    """generation_config.json: narrower sampling than large models, no repetition penalty.

    Speech repeats itself. With the predictor at 0.7 too, words of sentences that come in word by word go wrong twice as
    often.
    """
    narrow = {"temperature": 0.7, "top_k": 30, "subtalker_temperature": 0.4, "subtalker_top_k": 30}
    return dict(GENERATION) | narrow | {"repetition_penalty": 1.0}
