"""Start of a training: a file or a checkpoint's folder.

The file is a training's own; the vocabulary may be another.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.checkpoint.dummy.tokenizer import Vocabulary
from engine.checkpoint.hub import weight_files
from training.codec.export import PARTS

State = dict[str, Tensor]
_TEXT = "talker.model.text_embedding.weight"


def read_talker(path: Path) -> tuple[State, Vocabulary]:
    """Talker weights in fp32, with their vocabulary."""
    if path.is_dir():
        state = _tensors(path)
        entries = json.loads((path / "vocab.json").read_text("utf-8"))
        lines = (path / "merges.txt").read_text("utf-8").splitlines()
    else:
        data = torch.load(path, map_location="cpu", weights_only=True)
        state, entries, lines = data["model"], data["entries"], [" ".join(pair) for pair in data["merges"]]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    return {name: tensor.float() for name, tensor in state.items()}, Vocabulary(entries, merges)


def with_words(state: State, old: Vocabulary, new: Vocabulary) -> State:
    """`state` for another vocabulary.

    A new piece begins as the mean of the two that it is made of.
    """
    known, rows = state[_TEXT], torch.zeros(new.rows, state[_TEXT].shape[1])
    for token, row in new.added.items():
        rows[row] = known[old.added[token]]
    parts = {left + right: (left, right) for left, right in new.merges}
    for token, row in new.entries.items():
        rows[row] = _row(token, known, old.entries, parts)
    return state | {_TEXT: rows}


def read_codec(folder: Path) -> State:
    """The trainable codec's state out of a checkpoint's folder."""
    tensors, state = _tensors(folder / "speech_tokenizer"), State()
    for name, tensor in tensors.items():
        if "quantizer" not in name:
            state[name] = tensor.float()
    for encoder, decoder in PARTS:
        front, back = f"encoder.quantizer.{encoder}_residual_vector_quantizer", f"decoder.quantizer.rvq_{decoder}"
        state[f"quantizer.{encoder}.input_proj.weight"] = tensors[f"{front}.input_proj.weight"][..., 0].float()
        state[f"quantizer.{encoder}.output_proj.weight"] = tensors[f"{back}.output_proj.weight"][..., 0].float()
        levels = sum(name.startswith(front) and name.endswith("cluster_usage") for name in tensors)
        for level in range(levels):
            book = f"{back}.vq.layers.{level}._codebook"
            state[f"quantizer.{encoder}.books.{level}.usage"] = tensors[f"{book}.cluster_usage"].float()
            state[f"quantizer.{encoder}.books.{level}.sums"] = tensors[f"{book}.embedding_sum"].float()
    return state


def _row(token: str, known: Tensor, entries: Mapping[str, int], parts: Mapping[str, tuple[str, str]]) -> Tensor:
    if token in entries:
        return known[entries[token]]
    left, right = (_row(part, known, entries, parts) for part in parts[token])
    return (left + right) / 2


def _tensors(folder: Path) -> State:
    return {name: tensor for file in weight_files(folder) for name, tensor in load_file(folder / file).items()}
