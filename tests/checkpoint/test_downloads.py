"""Checkpoints whose download went wrong: one line that names the file, what it really is, and the way out."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.api.errors import CheckpointError
from engine.checkpoint.dummy import write_checkpoint
from engine.checkpoint.hub import INDEX, checkpoint_folder
from engine.checkpoint.weights import load_checkpoint

SHARD = "model-00001-of-00002.safetensors"
CODEC = "speech_tokenizer/model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3833402552\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose weights are one shard of two; the other holds nothing that is needed."""
    folder = write_checkpoint(tmp_path_factory.mktemp("whole") / "tiny", "0.6B-CustomVoice", seed=1)
    (folder / "model.safetensors").rename(folder / SHARD)
    shutil.copy(folder / CODEC, folder / "model-00002-of-00002.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": SHARD, "b": "model-00002-of-00002.safetensors"}}))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "checkpoint"))


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        checkpoint_folder(str(folder))
        load_checkpoint(folder, torch.device("cpu"), torch.float32)
    line = str(error.value)
    assert "\n" not in line and len(line) < 400
    return line.replace(str(folder), "HERE")


def test_a_whole_checkpoint_is_taken(folder: Path) -> None:
    assert checkpoint_folder(str(folder)) == folder


@pytest.mark.parametrize("name", [SHARD, CODEC, "vocab.json", "merges.txt", "config.json", INDEX])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, "a git-LFS pointer, .*git lfs pull"),
        (b"\n<!DOCTYPE html><html><title>502</title></html>", "a web page, .*download it again"),
        (b"", "empty: download it again"),
    ],
)
def test_any_file_that_is_something_else(folder: Path, name: str, content: bytes, said: str) -> None:
    (folder / name).write_bytes(content)
    line = refused(folder)
    assert re.match(f"HERE/{re.escape(name)} is {said}", line), line


@pytest.mark.parametrize("name", [SHARD, CODEC])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-1], "is cut short, with "),
        (lambda data: data[: len(data) // 2], "is cut short, with "),
        (lambda data: data[:100], "is cut short, with 100 of "),
        (lambda data: data[:5], "is not safetensors"),
        (lambda data: bytes(len(data)), "begins with nothing but zeros"),
        (lambda data: b'{"error": "Repository not found"}', "but text"),
        (lambda data: b"Entry not found", "but text ('Entry not found')"),
        (lambda data: b"PK\x03\x04" + data, "is a PyTorch file"),
        (lambda data: b"GGUF" + data, "is a GGUF file"),
        (lambda data: b"\x80\x04\x95" + data, "is a pickled PyTorch file"),
        (lambda data: os.urandom(8) + b"\1" + data, "is not safetensors"),
        (lambda data: data[:40] + b"\0" * 20 + data[60:], "cannot be read: "),
    ],
)
def test_weights_that_are_none(folder: Path, name: str, damage: Callable[[bytes], bytes], said: str) -> None:
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    line = refused(folder)
    assert line.startswith(f"HERE/{name} ") and said in line


def test_a_header_whose_length_looks_like_a_pickle(folder: Path) -> None:
    data = (folder / SHARD).read_bytes()
    length = int.from_bytes(data[:8], "little")
    longer = (length | 0xFF) + 0x81  # ends in 0x80; spaces fill the header up
    header = data[8 : 8 + length].ljust(longer)
    (folder / SHARD).write_bytes(longer.to_bytes(8, "little") + header + data[8 + length :])
    assert checkpoint_folder(str(folder)) == folder


def test_how_many_more_are_so(folder: Path) -> None:
    for name in (SHARD, CODEC, "vocab.json"):
        (folder / name).write_bytes(POINTER)
    assert refused(folder).endswith("(2 more files are unusable too)")


def test_a_shard_that_is_missing(folder: Path) -> None:
    (folder / SHARD).unlink()
    assert refused(folder) == f"HERE: {SHARD} is missing, which the index of the weights lists: download it again"


def test_an_index_that_is_missing(folder: Path) -> None:
    (folder / INDEX).unlink()
    said = f"HERE/model.safetensors is missing, and so is {INDEX}, though {SHARD} is there: download it again"
    assert refused(folder) == said


@pytest.mark.parametrize("name", [SHARD, CODEC])
@pytest.mark.parametrize("left", ["{}.incomplete", "{}.part", ".cache/huggingface/download/{}.5d3f.incomplete"])
def test_a_download_that_has_not_ended(folder: Path, name: str, left: str) -> None:
    unfinished = folder / left.format(name)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(unfinished)
    said = f"HERE/{name} is missing, and {unfinished.name} is an unfinished download: download it again"
    assert refused(folder) == said


def test_a_link_to_nowhere(folder: Path) -> None:
    (folder / CODEC).unlink()
    (folder / CODEC).symlink_to("../../blobs/5d3f")
    assert refused(folder) == f"HERE/{CODEC} is a link to ../../blobs/5d3f, which is not there: download it again"
