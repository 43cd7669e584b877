"""A whole random checkpoint, in memory or as a folder.

In the layout of the published ones.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.dummy.configs import (
    CODEC_PREPROCESSOR,
    GENERATION,
    PREPROCESSOR,
    Json,
    Size,
    codec_config,
    main_config,
    merged,
)
from engine.checkpoint.dummy.tokenizer import REAL_ENTRIES, Vocabulary, tiny_vocabulary, write_tokenizer
from engine.checkpoint.dummy.weights import codec_weights, main_weights


class DummyCheckpoint(NamedTuple):
    """Contents of a checkpoint folder.

    The JSON files, bf16 `main` and fp32 `codec` tensors by name, the vocabulary.
    """

    config: Json
    codec_config: Json
    generation: Json
    main: dict[str, Tensor]
    codec: dict[str, Tensor]
    vocabulary: Vocabulary


def dummy_tensors(kind: str, device: torch.device, seed: int = 0) -> DummyCheckpoint:
    """Random weights of full size, made on `device`.

    End of speech never wins, so that lengths are the caller's.
    `kind` is one of `KINDS`. The vocabulary is small but has the real size, so all ids are the real ones.
    """
    return _checkpoint(kind, seed, "real", 0.0, None, {}, {}, device)


def write_checkpoint(
    path: Path,
    kind: str,
    *,
    seed: int = 0,
    size: Size = "tiny",
    eos_scale: float = 1.6,
    text_vocab: int | None = None,
    config_overrides: Json | None = None,
    codec_overrides: Json | None = None,
) -> Path:
    """Write a random checkpoint of `kind` as the folder `path`.

    It appears complete or not at all.
    `text_vocab` is the number of BPE entries (default: as many as are in use, or the real number for size "real").
    The overrides are laid over config.json and speech_tokenizer/config.json, object by object; shapes follow them.
    Raises FileExistsError if `path` exists and is not an empty folder.
    """
    checkpoint = _checkpoint(
        kind, seed, size, eos_scale, text_vocab, config_overrides or {}, codec_overrides or {}, torch.device("cpu")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _write_files(scratch, checkpoint)
        _publish(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


def _checkpoint(
    kind: str,
    seed: int,
    size: Size,
    eos_scale: float,
    text_vocab: int | None,
    config_overrides: Json,
    codec_overrides: Json,
    device: torch.device,
) -> DummyCheckpoint:
    real = size == "real"
    vocabulary = tiny_vocabulary(text_vocab or (REAL_ENTRIES if real else None))
    rows = None if real and text_vocab is None else vocabulary.rows
    config = merged(main_config(kind, size, vocabulary.config_ids, rows), config_overrides)
    codec = merged(codec_config(size), codec_overrides)
    return DummyCheckpoint(
        config=config,
        codec_config=codec,
        generation=dict(GENERATION),
        main=main_weights(config, seed=seed, eos_scale=eos_scale, device=device),
        codec=codec_weights(codec, seed=seed + 1, device=device),
        vocabulary=vocabulary,
    )


def _write_files(folder: Path, checkpoint: DummyCheckpoint) -> None:
    _write_json(folder / "config.json", checkpoint.config)
    _write_json(folder / "generation_config.json", checkpoint.generation)
    _write_json(folder / "preprocessor_config.json", PREPROCESSOR)
    write_tokenizer(folder, checkpoint.vocabulary)
    metadata = None if checkpoint.config["tts_model_type"] == "base" else {"format": "pt"}  # as published
    save_file(checkpoint.main, folder / "model.safetensors", metadata=metadata)
    codec = folder / "speech_tokenizer"
    codec.mkdir()
    _write_json(codec / "config.json", checkpoint.codec_config)
    _write_json(codec / "preprocessor_config.json", CODEC_PREPROCESSOR)
    save_file(checkpoint.codec, codec / "model.safetensors")


def _publish(scratch: Path, path: Path) -> None:
    scratch.chmod(0o755)
    try:
        os.rename(scratch, path)
    except OSError as error:
        if path.exists():
            raise FileExistsError(f"{path} exists already") from error
        raise


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
