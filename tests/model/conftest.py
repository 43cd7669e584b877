"""Random checkpoints of several seeds, and qwen-tts over them where it is installed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.checkpoint.codec_config import CodecDecoderConfig, Json
from engine.checkpoint.dummy import write_checkpoint
from engine.checkpoint.tensors import Tensors, under
from engine.model.codec.decoder import CodecDecoder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny matrices: a second thread only waits
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=[0, 1], ids="seed{}".format)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", "0.6B-Base", seed=request.param)


@pytest.fixture(scope="session")
def config(folder: Path) -> Json:
    return read_json(folder / "config.json")


@pytest.fixture(scope="session")
def tensors(folder: Path) -> Tensors:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="session")
def codec_config(folder: Path) -> Json:
    return read_json(folder / "speech_tokenizer" / "config.json")


@pytest.fixture(scope="session")
def codec_tensors(folder: Path) -> Tensors:
    return load_file(folder / "speech_tokenizer" / "model.safetensors")


@pytest.fixture(scope="session")
def decoder(codec_config: Json, codec_tensors: Tensors) -> CodecDecoder:
    return build_decoder(codec_config, codec_tensors)


@pytest.fixture(scope="session")
def exact(codec_config: Json, codec_tensors: Tensors) -> CodecDecoder:
    """In fp64, where what is equal by design is equal in ten digits: the snakes amplify the rounding of fp32."""
    return build_decoder(codec_config, {name: tensor.double() for name, tensor in codec_tensors.items()})


@pytest.fixture(scope="session")
def reference(folder: Path) -> Any:
    """The package's own `Qwen3TTSForConditionalGeneration`, in fp32."""
    pytest.importorskip("transformers", reason="the parity tests need qwen-tts")
    from tests.parity.reference import load_reference

    return load_reference(folder).model


def read_json(path: Path) -> Json:
    value: Json = json.loads(path.read_text())
    return value


def build_decoder(codec_config: Json, tensors: Tensors) -> CodecDecoder:
    return CodecDecoder(CodecDecoderConfig.from_json(codec_config["decoder_config"]), under(tensors, "decoder"))
