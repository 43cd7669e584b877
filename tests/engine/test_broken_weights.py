"""Weights of wrong shapes or values: one clear error, of the checkpoint or of the speech."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError, GenerationFailed
from engine.build import build_engine
from engine.checkpoint.dummy import write_checkpoint
from tests.engine.conftest import Checkpoint
from tests.engine.speaking import speak
from tests.engine.test_speech import request

MAIN, CODEC = "model.safetensors", "speech_tokenizer/model.safetensors"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (MAIN, "talker.model.layers.0.self_attn.q_proj.weight"),
        (MAIN, "talker.code_predictor.lm_head.14.weight"),
        (MAIN, "speaker_encoder.fc.bias"),
        (CODEC, "decoder.decoder.0.conv.weight"),
        (CODEC, "encoder.downsample.conv.weight"),
    ],
)
async def test_a_tensor_of_another_shape_is_named(tmp_path: Path, file: str, name: str) -> None:
    folder = write_checkpoint(tmp_path / "voice", "0.6B-Base")
    tensors = load_file(folder / file)
    expected = list(tensors[name].shape)
    tensors[name] = torch.cat((tensors[name], tensors[name]))
    save_file(tensors, folder / file)
    with pytest.raises(CheckpointError) as error:
        await build_engine(str(folder))
    found = [2 * expected[0], *expected[1:]]
    assert f"{name} has shape {found} where config.json gives {expected}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("head", [0, 7, 14])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_a_predictor_without_numbers_fails_its_speech(checkpoint: Checkpoint, head: int, value: float) -> None:
    async with await build_engine(str(checkpoint("1.7B-CustomVoice")), EngineConfig(device="cpu")) as engine:
        weight = engine._steps.runner._frame._predictor.heads[head]  # type: ignore[attr-defined]
        with torch.inference_mode():
            weight[5] = value
        with pytest.raises(GenerationFailed, match="not finite"):
            await speak(engine, request(), "Good morning.")
        assert engine.failed is None
