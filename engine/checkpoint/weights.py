"""A checkpoint from disk: JSON files, tensors on a device."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.api.errors import CheckpointError
from engine.api.request import Sampling, SamplingParams
from engine.checkpoint.codec_config import Json
from engine.checkpoint.config import ModelConfig
from engine.checkpoint.dummy import KINDS, dummy_tensors
from engine.checkpoint.dummy.tokenizer import Vocabulary
from engine.checkpoint.hub import weight_files
from engine.checkpoint.layout import Shape, Shapes, codec_shapes, main_shapes
from engine.checkpoint.shard import Shard
from engine.checkpoint.shared_weights import SharedCodecs
from engine.checkpoint.tensors import Tensors, check_shapes
from engine.progress import Progress

MEGABYTE = 1e6  # bytes
Take = Callable[[str, Tensor], Tensor | None]  # what is kept of a tensor, by its name


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Contents of a checkpoint.

    `main`: talker, predictor, speaker encoder, in the model's dtype; `codec`: encoder and decoder, in fp32.
    """

    config: ModelConfig
    config_json: Json
    codec_json: Json
    defaults: Sampling
    main: Tensors
    codec: Tensors


def load_checkpoint(
    folder: Path, device: torch.device, dtype: torch.dtype, shared: SharedCodecs | None = None, ranks: int = 1
) -> Checkpoint:
    """Read a folder in the published layout.

    Of `ranks` peers the part of the first. Raises `CheckpointError` with one clear line.
    """
    codec, shared = folder / "speech_tokenizer", shared or SharedCodecs()
    config_json, codec_json = read_json(folder / "config.json"), read_json(codec / "config.json")
    config = ModelConfig.from_json(config_json, codec_json)
    main = _tensors(folder, device, dtype, _given(main_shapes, config_json), Shard(config.talker, 0, ranks).take)
    expected = _given(codec_shapes, codec_json)
    return Checkpoint(
        config=config,
        config_json=config_json,
        codec_json=codec_json,
        defaults=sampling_defaults(read_json(folder / "generation_config.json")),
        main=main,
        codec=shared.weights(codec, lambda: _tensors(codec, device, torch.float32, expected, _whole)),
    )


def load_shard(model: str, device: torch.device, dtype: torch.dtype, rank: int, ranks: int) -> tuple[Shard, Tensors]:
    """Part of a talker that a later rank holds.

    `model`: a folder, or a kind's name for random weights. Raises `CheckpointError` with one clear line.
    """
    if model in KINDS:
        made = dummy_tensors(model, device)
        shard = Shard(ModelConfig.from_json(made.config, made.codec_config).talker, rank, ranks)
        return shard, _taken(made.main, dtype, shard)
    folder = Path(model)
    config_json, codec_json = read_json(folder / "config.json"), read_json(folder / "speech_tokenizer" / "config.json")
    shard = Shard(ModelConfig.from_json(config_json, codec_json).talker, rank, ranks)
    return shard, _tensors(folder, device, dtype, _given(main_shapes, config_json), shard.take)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises `CheckpointError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return data


def sampling_defaults(data: Json) -> Sampling:
    """Sampling parameters of generation_config.json.

    Absent keys keep the reference wrapper's fallbacks.
    """
    return Sampling(
        talker=_pick(data, ""),
        predictor=_pick(data, "subtalker_"),
        repetition_penalty=float(data.get("repetition_penalty", 1.05)),
    )


def _pick(data: Json, prefix: str) -> SamplingParams:
    sampled = data.get("do_sample" if not prefix else "subtalker_dosample", True)
    return SamplingParams(
        temperature=float(data.get(f"{prefix}temperature", 0.9)) if sampled else 0.0,
        top_k=int(data.get(f"{prefix}top_k", 50)),
        top_p=float(data.get(f"{prefix}top_p", 1.0)),
    )


def _given(shapes: Callable[[Json], Shapes], config: Json) -> Shapes:
    """Shapes that a configuration gives.

    None where it leaves out a size that loading does not need.
    """
    try:
        return shapes(config)
    except KeyError:
        return {}


def _whole(_name: str, tensor: Tensor) -> Tensor:
    return tensor


def _taken(tensors: Tensors, dtype: torch.dtype, shard: Shard) -> dict[str, Tensor]:
    """A shard's parts of random weights."""
    kept = {name: shard.take(name, tensor) for name, tensor in tensors.items()}
    return {name: tensor.to(dtype) for name, tensor in kept.items() if tensor is not None}


def _tensors(folder: Path, device: torch.device, dtype: torch.dtype, expected: Shapes, take: Take) -> dict[str, Tensor]:
    paths = [folder / name for name in weight_files(folder)]
    size = sum(path.stat().st_size for path in paths) / MEGABYTE
    tensors: dict[str, Tensor] = {}
    check_shapes(folder, {name: shape for path in paths for name, shape in _shapes(path)}, expected)
    with Progress(f"reading weights from {folder}", "MB", size) as progress:
        for path in paths:
            tensors |= _part(path, device, dtype, take, progress)
    return tensors


def _shapes(path: Path) -> Iterator[tuple[str, Shape]]:
    """Names of a file's tensors, with their shapes."""
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, tuple(file.get_slice(name).get_shape())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _part(path: Path, device: torch.device, dtype: torch.dtype, take: Take, progress: Progress) -> dict[str, Tensor]:
    tensors = {}
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            for name in file.keys():  # noqa: SIM118
                tensor = file.get_tensor(name)
                if (kept := take(name, tensor)) is not None:
                    tensors[name] = kept.to(dtype)
                progress.advance(tensor.nbytes / MEGABYTE)
        return tensors
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def dummy_checkpoint(
    kind: str, device: torch.device, dtype: torch.dtype, ranks: int = 1
) -> tuple[Checkpoint, Vocabulary]:
    """Random weights of full size, with their vocabulary.

    Made on the device; of `ranks` peers the part of the first.
    """
    made = dummy_tensors(kind, device)
    config = ModelConfig.from_json(made.config, made.codec_config)
    checkpoint = Checkpoint(
        config=config,
        config_json=made.config,
        codec_json=made.codec_config,
        defaults=sampling_defaults(made.generation),
        main=_taken(made.main, dtype, Shard(config.talker, 0, ranks)),
        codec=made.codec,
    )
    return checkpoint, made.vocabulary
