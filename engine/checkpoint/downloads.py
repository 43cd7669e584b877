"""Diagnosis of failed downloads of checkpoint files.

One line each: what the file really is, with the way out.
"""

import json
from collections.abc import Iterator
from pathlib import Path

_LFS = b"version https://git-lfs.github.com/spec/"
_FOREIGN = {b"PK\x03\x04": "PyTorch file or an archive", b"\x80": "pickled PyTorch file", b"GGUF": "GGUF file"}
_UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".tmp", ".aria2")
_HUB_DOWNLOADS = Path(".cache/huggingface/download")  # of unfinished files of `hf download --local-dir`
_AGAIN = "download it again"
_LONGEST_HEADER = 100 * 2**20  # the safetensors format's own limit


def fault(path: Path) -> str:
    """Fault of a file by its start; empty without one.

    Its first bytes, and the header of weights.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1024)
            return _fault_of(start) or (_fault_of_weights(path, start) if path.suffix == ".safetensors" else "")
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def absent(folder: Path, name: str) -> str:
    """Reason why the file `name` of a checkpoint is missing.

    As far as its folder shows.
    """
    path = folder / name
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there: {_AGAIN}"
    if path.exists():
        return "is not a file"
    if left := next(_unfinished(path, folder), None):
        return f"is missing, and {left.name} is an unfinished download: {_AGAIN}"
    if shard := next(iter(sorted(path.parent.glob(f"{path.stem}-*-of-*{path.suffix}"))), None):
        return f"is missing, and so is {path.name}.index.json, though {shard.name} is there: {_AGAIN}"
    return "is missing"


def _unfinished(path: Path, folder: Path) -> Iterator[Path]:
    beside = (path.with_name(f"{path.name}{suffix}") for suffix in _UNFINISHED)
    yield from (left for left in beside if left.is_file())
    hub = folder / _HUB_DOWNLOADS / path.parent.relative_to(folder)
    yield from sorted(hub.glob(f"{path.name}*.incomplete"))
    yield from sorted(hub.glob("*.incomplete"))


def _fault_of(start: bytes) -> str:
    """Fault of a file by its start; empty without one."""
    text = start.lstrip().lower()
    if not start:
        return f"is empty: {_AGAIN}"
    if start.startswith(_LFS):
        return "is a git-LFS pointer, not the file itself: run `git lfs install` and `git lfs pull` in its folder"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return f"is a web page, perhaps of an error or a login: {_AGAIN}"
    return ""


def _fault_of_weights(path: Path, start: bytes) -> str:
    """Fault of a safetensors file.

    Eight bytes of length, a JSON header, and tensors are expected.
    """
    size, length = path.stat().st_size, int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or length > _LONGEST_HEADER:
        return _foreign(start)
    end = _end(path, length) if size >= length + 8 else length + 8
    return f"is cut short, with {size:,} of {end:,} bytes: {_AGAIN}" if size < end else ""


def _foreign(start: bytes) -> str:
    for magic, kind in _FOREIGN.items():
        if start.startswith(magic):
            return f"is a {kind}, not safetensors"
    if not start.strip(b"\0"):
        return f"begins with nothing but zeros, as an unfinished download does: {_AGAIN}"
    message = start.decode("utf-8", "replace").splitlines()[0][:80] if start.isascii() else ""
    return f"is not safetensors{f' but text ({message!r})' if message else ''}: {_AGAIN}"


def _end(path: Path, length: int) -> int:
    """End of the last tensor by the header.

    0 for an unusable header, which its reader then reports.
    """
    with path.open("rb") as file:
        file.seek(8)
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            return 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return 0
