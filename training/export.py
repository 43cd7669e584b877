"""Checkpoint folders in the published layout, from a trained voice.

Its files are small enough to be kept in a repository.

Usage: python -m training.export TALKER CODEC OUT [--speaker SPEAKER]
CODEC is a file of the codec's training, or a checkpoint's folder that keeps its own.
The main tensors are bf16 as published; the codec's are fp16 instead of fp32, which is inaudible and half the size.
With a speaker encoder there is a second folder, OUT_clone, which clones: its talker and its codec are the first one's
files, by links.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.dummy.configs import CODEC_PREPROCESSOR, PREPROCESSOR, Json
from engine.checkpoint.dummy.tokenizer import Vocabulary, write_tokenizer
from engine.checkpoint.hub import INDEX, weight_files
from training.codec.export import codec_tensors
from training.resumed import read_talker
from training.sizes import clone_config, generation_config, talker_config, tokenizer_config
from training.talker.coded import load_codec

FILE_BYTES = 15_000_000
SPEAKER = "speaker_encoder.safetensors"


def export(talker: Path, codec: Path, out: Path) -> None:
    """Write the folder `out`; raises FileExistsError if it is there."""
    tensors, words = read_talker(talker)
    out.mkdir(parents=True)
    _write_settings(out, talker_config(words.config_ids, words.rows), words)
    write_tensors(out, {name: tensor.bfloat16() for name, tensor in tensors.items()})
    _write_codec(codec, out / "speech_tokenizer")


def export_clone(speaker: Path, built_in: Path, out: Path) -> None:
    """Write the folder `out` beside the folder `built_in`.

    Raises FileExistsError if it is there.
    """
    _, words = read_talker(built_in)
    out.mkdir()
    _write_settings(out, clone_config(words.config_ids, words.rows), words)
    beside = Path("..") / built_in.name
    (out / "speech_tokenizer").symlink_to(beside / "speech_tokenizer")
    tensors = {f"speaker_encoder.{name}": tensor for name, tensor in torch.load(speaker, weights_only=True).items()}
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, out / SPEAKER, metadata={"format": "pt"})
    files = dict.fromkeys(tensors, SPEAKER)
    index = json.loads((built_in / INDEX).read_text("utf-8"))
    for file in weight_files(built_in):
        (out / file).symlink_to(beside / file)
    size = index["metadata"]["total_size"] + sum(2 * tensor.numel() for tensor in tensors.values())
    _write_json(out / INDEX, {"metadata": {"total_size": size}, "weight_map": index["weight_map"] | files})


def _write_codec(codec: Path, out: Path) -> None:
    if codec.is_dir():
        copytree(codec / out.name, out)
        return
    out.mkdir()
    _write_json(out / "config.json", tokenizer_config())
    _write_json(out / "preprocessor_config.json", CODEC_PREPROCESSOR)
    write_tensors(out, _halved(codec_tensors(load_codec(codec, torch.device("cpu")))))


def _write_settings(out: Path, config: Json, words: Vocabulary) -> None:
    _write_json(out / "config.json", config)
    _write_json(out / "generation_config.json", generation_config())
    _write_json(out / "preprocessor_config.json", PREPROCESSOR)
    write_tokenizer(out, words)


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write model.safetensors, in parts with index beyond `FILE_BYTES`."""
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


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in fp16, with codebook counts scaled to one.

    Counts may be large or next to nothing, so entries are kept as if used once.
    """
    halved = dict[str, Tensor]()
    for name, tensor in tensors.items():
        if name.endswith("cluster_usage"):
            tensor = torch.ones_like(tensor)
        if name.endswith(("embed_sum", "embedding_sum")):
            usage = tensors[name.rpartition(".")[0] + ".cluster_usage"]
            tensor = tensor / usage.clamp(min=1e-5)[:, None]
        halved[name] = tensor.half()
    return halved


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Export; print the size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("talker", "codec", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--speaker", type=Path)
    options = parser.parse_args()
    export(options.talker, options.codec, options.out)
    folders = [options.out]
    if options.speaker:
        folders.append(options.out.with_name(f"{options.out.name}_clone"))
        export_clone(options.speaker, *folders)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    sizes = {str(path.relative_to(options.out.parent)): path.stat().st_size for path in files}
    print(json.dumps(sizes, indent=1), f"{sum(sizes.values()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
