"""A trained voice as a checkpoint folder in the published layout, in files small enough to be kept in a repository.

Usage: python -m tools.train_voice.export TALKER CODEC OUT
The main tensors are bf16 as published; the codec's are fp16 instead of fp32, which is inaudible and half the size.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.dummy.configs import CODEC_PREPROCESSOR, PREPROCESSOR
from engine.dummy.tokenizer import write_tokenizer
from tools.train_voice.codec_export import codec_tensors
from tools.train_voice.coded import load_codec
from tools.train_voice.resumed import read_talker
from tools.train_voice.sizes import generation_config, talker_config, tokenizer_config

FILE_BYTES = 15_000_000


def export(talker: Path, codec: Path, out: Path) -> None:
    """Write the folder `out`; raises FileExistsError if it is there."""
    tensors, words = read_talker(talker)
    (out / "speech_tokenizer").mkdir(parents=True)
    _write_json(out / "config.json", talker_config(words.config_ids, words.rows))
    _write_json(out / "generation_config.json", generation_config())
    _write_json(out / "preprocessor_config.json", PREPROCESSOR)
    write_tokenizer(out, words)
    write_tensors(out, {name: tensor.bfloat16() for name, tensor in tensors.items()})
    _write_json(out / "speech_tokenizer" / "config.json", tokenizer_config())
    _write_json(out / "speech_tokenizer" / "preprocessor_config.json", CODEC_PREPROCESSOR)
    tensors = codec_tensors(load_codec(codec, torch.device("cpu")))
    write_tensors(out / "speech_tokenizer", {name: _half(name, tensor) for name, tensor in tensors.items()})


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """model.safetensors, or as many parts as `FILE_BYTES` asks for and the index that names them."""
    parts: list[dict[str, Tensor]] = [{}]
    for name, tensor in sorted(tensors.items()):
        if sum(t.nbytes for t in parts[-1].values()) + tensor.nbytes > FILE_BYTES:
            parts.append({})
        parts[-1][name] = tensor.contiguous()
    if len(parts) == 1:
        save_file(parts[0], folder / "model.safetensors", metadata={"format": "pt"})
        return
    index: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})


def _half(name: str, tensor: Tensor) -> Tensor:
    """fp16, but for the counts of codebooks, which may be large or next to nothing."""
    return tensor if "codebook" in name else tensor.half()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Export, and say how large it became."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("talker", "codec", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    export(options.talker, options.codec, options.out)
    sizes = {str(p.relative_to(options.out)): p.stat().st_size for p in options.out.rglob("*") if p.is_file()}
    print(json.dumps(sizes, indent=1), f"{sum(sizes.values()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
