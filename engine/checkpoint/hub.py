"""Folders of checkpoints: local, or downloaded once by hub id."""

import json
from collections.abc import Iterator
from pathlib import Path

from engine.api.errors import CheckpointError
from engine.checkpoint import downloads
from engine.progress import Progress

FILES = ("config.json", "generation_config.json", "vocab.json", "merges.txt")
CODEC_FILES = ("speech_tokenizer/config.json",)
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # of weights that lie in several files


def checkpoint_folder(model: str) -> Path:
    """Folder of a checkpoint given by path or hub id.

    A hub id is "owner/name" or "owner/name@revision". Downloads log their progress.
    Raises `CheckpointError` with one clear line when it is unavailable or lacks a file.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _download(model)
    names = [*FILES, *CODEC_FILES, *weight_files(folder)]
    names += [f"speech_tokenizer/{name}" for name in weight_files(folder / "speech_tokenizer")]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(_missing(folder, missing))
    if faults := list(_faults(folder, names)):
        more = f" ({len(faults) - 1} more files are unusable too)" if len(faults) > 1 else ""
        raise CheckpointError(faults[0] + more)
    return folder


def _missing(folder: Path, names: list[str]) -> str:
    """One line for the missing files.

    Why the weights are missing, or the list of all.
    """
    why = {name: downloads.absent(folder, name) for name in names}
    known = next((f"{folder / name} {reason}" for name, reason in why.items() if reason != "is missing"), "")
    if known:
        return known
    shards = [name for name in names if name.endswith(".safetensors") and Path(name).name != WEIGHTS]
    if shards == names:
        return f"{folder}: {', '.join(names)} is missing, which the index of the weights lists: download it again"
    return f"{folder} is not a Qwen3-TTS checkpoint: {', '.join(names)} is missing"


def _faults(folder: Path, names: list[str]) -> Iterator[str]:
    for name in names:
        if fault := downloads.fault(folder / name):
            yield f"{folder / name} {fault}"


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold a folder's tensors.

    One, or those that its index lists. Raises `CheckpointError`.
    """
    index = folder / INDEX
    if not index.is_file():
        return [WEIGHTS]
    if fault := downloads.fault(index):
        raise CheckpointError(f"{index} {fault}")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} cannot be read: {error!r}") from error
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(f"{index} does not name files beside it")
    return names


def is_hub_id(model: str) -> bool:
    """Whether `model` may be a hub id.

    It is not a folder here.
    """
    name = model.partition("@")[0]
    local = name.startswith((".", "/", "~")) or Path(name).parent.is_dir()
    return name.count("/") == 1 and not local


def _download(model: str) -> Path:
    if not is_hub_id(model):
        raise CheckpointError(f"{model}: no such folder")
    name, _, revision = model.partition("@")
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.safetensors", "speech_tokenizer/*"]
    try:
        with Progress(f"fetching {model} from the hub"):
            return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except Exception as error:  # the hub client raises many kinds, for the network and for wrong names alike
        raise CheckpointError(f"{model}: no such folder, and no download: {str(error).splitlines()[0]}") from error
