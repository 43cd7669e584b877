"""Which sizes of the codec decoder the fused kernels take: the published ones, not those of small voices."""

from typing import Any

import pytest
import torch

from engine.dummy.configs import Json, codec_config, merged
from engine.dummy.layout import codec_shapes
from engine.model.codec_config import CodecDecoderConfig
from engine.model.codec_fit import fits
from engine.model.tensors import under
from tools.train_voice.sizes import tokenizer_config

OTHERS = [  # each alone is too much, or too odd, for a kernel
    {"codebook_dim": 384},
    {"latent_dim": 768},
    {"hidden_size": 544},
    {"intermediate_size": 1040},
    {"head_dim": 16},
    {"head_dim": 96},
    {"head_dim": 128},
    {"num_key_value_heads": 8},
    {"sliding_window": 250},
    {"decoder_dim": 1600},  # 800, 400, 200, 100
    {"decoder_dim": 1408},  # 704, 352, 176, 88: the third is 128 + 48
    {"decoder_dim": 256},  # 128, 64, 32, 16
]
SMALLER = {"decoder_dim": 1280, "head_dim": 32, "hidden_size": 192, "latent_dim": 64, "sliding_window": 3}


def fit(json: Json) -> bool:
    """Whether a decoder of these sizes fits; its tensors have shapes alone."""
    shapes = codec_shapes(json)
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return fits(CodecDecoderConfig.from_json(json["decoder_config"]), under(weights, "decoder"))


def real_but(changes: dict[str, Any]) -> Json:
    return merged(codec_config("real"), {"decoder_config": changes})


def test_the_published_decoder_fits() -> None:
    assert fit(codec_config("real"))


def test_small_voices_do_not() -> None:
    assert not fit(tokenizer_config())
    assert not fit(codec_config("tiny"))


def test_smaller_ones_may() -> None:
    assert fit(real_but(SMALLER))


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_odd_sizes_do_not(changes: dict[str, Any]) -> None:
    assert not fit(real_but(changes))
