"""JSON configurations of the five published checkpoints, also shrunk."""

import copy
from collections.abc import Mapping
from typing import Any, Literal

Json = dict[str, Any]
Size = Literal["tiny", "real"]

KINDS: Mapping[str, tuple[str, str]] = {  # name -> (tts_model_size, tts_model_type)
    "0.6B-Base": ("0b6", "base"),
    "0.6B-CustomVoice": ("0b6", "custom_voice"),
    "1.7B-Base": ("1b7", "base"),
    "1.7B-CustomVoice": ("1b7", "custom_voice"),
    "1.7B-VoiceDesign": ("1b7", "voice_design"),
}

_WIDTHS: Mapping[tuple[str, Size], Json] = {  # of the talker; the predictor is as wide as the smaller one
    ("0b6", "real"): {"hidden_size": 1024, "intermediate_size": 3072},
    ("1b7", "real"): {"hidden_size": 2048, "intermediate_size": 6144},
    ("0b6", "tiny"): {"hidden_size": 48, "intermediate_size": 96},
    ("1b7", "tiny"): {"hidden_size": 64, "intermediate_size": 128},
}

_LANGUAGES = {
    "chinese": 2055,
    "english": 2050,
    "german": 2053,
    "italian": 2070,
    "portuguese": 2071,
    "spanish": 2054,
    "japanese": 2058,
    "korean": 2064,
    "french": 2061,
    "russian": 2069,
}
_DIALECTS = {"beijing_dialect": 2074, "sichuan_dialect": 2062}
_SPEAKERS = {
    "serena": 3066,
    "vivian": 3065,
    "uncle_fu": 3010,
    "ryan": 3061,
    "aiden": 2861,
    "ono_anna": 2873,
    "sohee": 2864,
    "eric": 2875,
    "dylan": 2878,
}
_SPEAKER_DIALECTS = {"eric": "sichuan_dialect", "dylan": "beijing_dialect"}

_PREDICTOR = {
    "attention_bias": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "layer_types": ["full_attention"] * 5,
    "max_position_embeddings": 65536,
    "model_type": "qwen3_tts_talker_code_predictor",
    "num_attention_heads": 16,
    "num_code_groups": 16,
    "num_hidden_layers": 5,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 2048,
}
_TALKER = {
    "attention_bias": False,
    "codec_bos_id": 2149,
    "codec_eos_token_id": 2150,
    "codec_nothink_id": 2155,
    "codec_pad_id": 2148,
    "codec_think_bos_id": 2156,
    "codec_think_eos_id": 2157,
    "codec_think_id": 2154,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "model_type": "qwen3_tts_talker",
    "num_attention_heads": 16,
    "num_code_groups": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "position_id_per_seconds": 13,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default", "type": "default"},
    "rope_theta": 1000000,
    "sliding_window": None,
    "text_hidden_size": 2048,
    "text_vocab_size": 151936,
    "use_sliding_window": False,
    "vocab_size": 3072,
}

_TINY_PREDICTOR = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "layer_types": ["full_attention"] * 2,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
}
_TINY_TALKER = {"num_attention_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2, "text_hidden_size": 64}
_TINY_SPEAKER = {
    "enc_attention_channels": 16,
    "enc_channels": [32, 32, 32, 32, 96],
    "enc_se_channels": 16,
    "enc_res2net_scale": 8,
}

_CODEC_DECODER = {
    "attention_bias": False,
    "codebook_dim": 512,
    "codebook_size": 2048,
    "decoder_dim": 1536,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "latent_dim": 1024,
    "layer_scale_initial_scale": 0.01,
    "max_position_embeddings": 8000,
    "num_attention_heads": 16,
    "num_hidden_layers": 8,
    "num_key_value_heads": 16,
    "num_quantizers": 16,
    "num_semantic_quantizers": 1,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000,
    "semantic_codebook_size": 4096,
    "sliding_window": 72,
    "upsample_rates": [8, 5, 4, 3],
    "upsampling_ratios": [2, 2],
    "vector_quantization_hidden_dimension": 512,
}
_CODEC_ENCODER = {
    "_frame_rate": 12.5,
    "attention_bias": False,
    "audio_channels": 1,
    "codebook_dim": 256,
    "codebook_size": 2048,
    "compress": 2,
    "dilation_growth_rate": 2,
    "head_dim": 64,
    "hidden_act": "gelu",
    "hidden_size": 512,
    "intermediate_size": 2048,
    "kernel_size": 7,
    "last_kernel_size": 3,
    "max_position_embeddings": 8000,
    "norm_eps": 1e-05,
    "num_attention_heads": 8,
    "num_filters": 64,
    "num_hidden_layers": 8,
    "num_key_value_heads": 8,
    "num_quantizers": 32,
    "num_residual_layers": 1,
    "num_semantic_quantizers": 1,
    "pad_mode": "constant",
    "residual_kernel_size": 3,
    "rope_theta": 10000.0,
    "sampling_rate": 24000,
    "sliding_window": 250,
    "trim_right_ratio": 1.0,
    "upsample_groups": 512,
    "upsampling_ratios": [8, 6, 5, 4],
    "use_cache": False,
    "use_causal_conv": True,
    "use_conv_shortcut": False,
    "vector_quantization_hidden_dimension": 256,
}
_TINY_CODEC_DECODER = {
    "codebook_dim": 32,
    "decoder_dim": 64,
    "head_dim": 16,
    "hidden_size": 32,
    "intermediate_size": 64,
    "latent_dim": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "vector_quantization_hidden_dimension": 32,
}
_TINY_CODEC_ENCODER = {
    "codebook_dim": 16,
    "head_dim": 16,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_filters": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "upsample_groups": 32,
    "vector_quantization_hidden_dimension": 16,
}

GENERATION: Mapping[str, Any] = {
    "do_sample": True,
    "max_new_tokens": 8192,
    "repetition_penalty": 1.05,
    "subtalker_dosample": True,
    "subtalker_temperature": 0.9,
    "subtalker_top_k": 50,
    "subtalker_top_p": 1.0,
    "temperature": 0.9,
    "top_k": 50,
    "top_p": 1.0,
}
PREPROCESSOR: Mapping[str, Any] = {
    "padding_side": "left",
    "padding_value": 0.0,
    "processor_class": "Qwen3TTSProcessor",
    "return_attention_mask": True,
}
CODEC_PREPROCESSOR: Mapping[str, Any] = {
    "chunk_length_s": None,
    "feature_extractor_type": "EncodecFeatureExtractor",
    "feature_size": 1,
    "overlap": None,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 24000,
}


def main_config(kind: str, size: Size, text_ids: Json, text_rows: int | None = None) -> Json:
    """The config.json of `kind`.

    `text_ids` are the tokenizer's, `text_rows` the text embedding's rows if not real.
    """
    model_size, model_type = KINDS[kind]
    talker = _TALKER | _WIDTHS[model_size, size] | _voices(model_type) | {"code_predictor_config": dict(_PREDICTOR)}
    if size == "tiny":
        talker |= _TINY_TALKER | {"code_predictor_config": _PREDICTOR | _TINY_PREDICTOR}
    if text_rows is not None:
        talker["text_vocab_size"] = text_rows
    config = {
        "architectures": ["Qwen3TTSForConditionalGeneration"],
        "model_type": "qwen3_tts",
        "tokenizer_type": "qwen3_tts_tokenizer_12hz",
        "transformers_version": "4.57.3",
        "tts_model_size": model_size,
        "tts_model_type": model_type,
        "talker_config": talker,
        **text_ids,
    }
    if model_type == "base":
        speaker = {"enc_dim": talker["hidden_size"], "sample_rate": 24000}
        config["speaker_encoder_config"] = speaker | (_TINY_SPEAKER if size == "tiny" else {})
    return copy.deepcopy(config)


def codec_config(size: Size) -> Json:
    """The speech_tokenizer/config.json, the same for every kind."""
    tiny = size == "tiny"
    config = {
        "architectures": ["Qwen3TTSTokenizerV2Model"],
        "model_type": "qwen3_tts_tokenizer_12hz",
        "transformers_version": "4.57.3",
        "decode_upsample_rate": 1920,
        "encode_downsample_rate": 1920,
        "encoder_valid_num_quantizers": 16,
        "input_sample_rate": 24000,
        "output_sample_rate": 24000,
        "decoder_config": _CODEC_DECODER | (_TINY_CODEC_DECODER if tiny else {}),
        "encoder_config": _CODEC_ENCODER | (_TINY_CODEC_ENCODER if tiny else {}),
    }
    return copy.deepcopy(config)


def merged(config: Json, overrides: Json) -> Json:
    """`config` with `overrides` laid over it, object by object."""
    result = dict(config)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


def _voices(model_type: str) -> Json:
    if model_type != "custom_voice":
        return {"codec_language_id": _LANGUAGES, "spk_id": {}, "spk_is_dialect": {}}
    dialects = {name: _SPEAKER_DIALECTS.get(name, False) for name in _SPEAKERS}
    return {"codec_language_id": _LANGUAGES | _DIALECTS, "spk_id": _SPEAKERS, "spk_is_dialect": dialects}
