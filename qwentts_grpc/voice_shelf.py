"""Where the bytes of voices lie: in memory, or in a directory whose files are whole or not there at all."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol

_SUFFIX, _UNFINISHED = ".safetensors", ".tmp"


class Shelf(Protocol):
    """Bytes by key; keys are safe as file names. Each method may run on any thread, one key on one at a time."""

    def names(self) -> list[str]:
        """All keys, in any order."""

    def read(self, key: str) -> bytes:
        """Raises `KeyError` where there is nothing."""

    def write(self, key: str, data: bytes) -> None:
        """On return the bytes are kept; after a crash inside they are there whole or not at all."""

    def remove(self, key: str) -> None:
        """On return there is nothing under `key`."""


class MemoryShelf:
    """Kept until the process ends."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def names(self) -> list[str]:
        """All keys."""
        return list(self._data)

    def read(self, key: str) -> bytes:
        """The bytes of `key`."""
        return self._data[key]

    def write(self, key: str, data: bytes) -> None:
        """Keep the bytes."""
        self._data[key] = data

    def remove(self, key: str) -> None:
        """Forget the bytes."""
        self._data.pop(key, None)


class DirectoryShelf:
    """One file a key, for one server at a time. Directory and files are readable by their owner alone.

    A file is written under another name, synced, then renamed; names left behind by a crash are removed on start.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        for unfinished in path.glob(f".*{_UNFINISHED}"):
            unfinished.unlink()

    def names(self) -> list[str]:
        """The keys of all finished files."""
        return [file.stem for file in self._path.glob(f"[!.]*{_SUFFIX}")]

    def read(self, key: str) -> bytes:
        """The file's content."""
        try:
            return self._file(key).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(key) from error

    def write(self, key: str, data: bytes) -> None:
        """Write, sync, rename, sync the directory: some milliseconds on a disk."""
        with NamedTemporaryFile(dir=self._path, prefix=".", suffix=_UNFINISHED, delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, self._file(key))
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
        self._sync()

    def remove(self, key: str) -> None:
        """Unlink and sync the directory."""
        self._file(key).unlink(missing_ok=True)
        self._sync()

    def _file(self, key: str) -> Path:
        return self._path / f"{key}{_SUFFIX}"

    def _sync(self) -> None:
        directory = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
