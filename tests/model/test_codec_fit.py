"""Which sizes of the codec decoder the fused kernels take: the published ones, not those of small voices."""

from typing import Any

import pytest
import torch

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.dummy.configs import Json, codec_config, merged
from engine.checkpoint.layout import codec_shapes
from engine.checkpoint.tensors import under
from engine.ops.triton.codec.support import misfit
from training.sizes import tokenizer_config

OTHERS = [  # each alone is too much, or too odd, for a kernel; and what is said of it
    ({"codebook_dim": 384}, "embeddings of 384"),
    ({"latent_dim": 768}, "embeddings of 768"),
    ({"hidden_size": 544}, "a transformer 544 wide"),
    ({"intermediate_size": 1040}, "a transformer 1040 wide"),
    ({"head_dim": 16}, "16 heads of 16"),
    ({"head_dim": 96}, "16 heads of 96"),
    ({"head_dim": 128}, "16 heads of 128"),
    ({"num_key_value_heads": 8}, "16 query heads over 8"),
    ({"sliding_window": 250}, "a window of 250 positions"),
    ({"decoder_dim": 1600}, "residual units of 200 channels"),  # 800, 400, 200, 100
    ({"decoder_dim": 1408}, "residual units of 176 channels"),  # 704, 352, 176, 88: the third is 128 + 48
    ({"decoder_dim": 256}, "residual units of 16 channels"),  # 128, 64, 32, 16
]
SMALLER = {"decoder_dim": 1280, "head_dim": 32, "hidden_size": 192, "latent_dim": 64, "sliding_window": 3}


def of(json: Json) -> str | None:
    """What of a decoder of these sizes does not fit; its tensors have shapes alone."""
    shapes = codec_shapes(json)
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return misfit(CodecDecoderConfig.from_json(json["decoder_config"]), under(weights, "decoder"))


def real_but(changes: dict[str, Any]) -> Json:
    return merged(codec_config("real"), {"decoder_config": changes})


def test_the_published_decoder_fits() -> None:
    assert of(codec_config("real")) is None


def test_small_voices_do_not() -> None:
    assert of(tokenizer_config())
    assert of(codec_config("tiny"))


def test_smaller_ones_may() -> None:
    assert of(real_but(SMALLER)) is None


@pytest.mark.parametrize(("changes", "named"), OTHERS, ids=str)
def test_odd_sizes_do_not(changes: dict[str, Any], named: str) -> None:
    assert of(real_but(changes)) == named
