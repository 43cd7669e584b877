"""Storage of voices as bytes by key.

In memory, or in a directory that several servers may share.
"""

import errno
import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol

from qwentts_grpc.host.unsafe_settings import refuse
from qwentts_grpc.voices.file import DamagedVoice

MAX_BYTES = 2**20  # of one voice; a minute of speech with its transcript takes some 200 KB at most
LOCK_SECONDS = 10.0  # for another server's write to end
SETTLED_NS = 2 * 10**9  # past the coarsest time stamps of file systems

_SUFFIX, _UNFINISHED, _LOCK = ".safetensors", ".tmp", ".lock"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_log = logging.getLogger(__name__)


class BlobStore(Protocol):
    """Bytes by key; keys are safe as file names.

    Each method may run on any thread, one key on one at a time. Other processes may change the content at any time;
    `list` shows it. All methods raise OSError.
    """

    def list(self) -> dict[str, str]:
        """Version of every key, new for new bytes."""

    def mark(self) -> str:
        """A cheap change mark.

        Cheaper than `list`: equal marks mean most likely no change.
        """

    def read(self, key: str) -> bytes:
        """Raises `KeyError` for no entry, `DamagedVoice` for an invalid one."""

    def write(self, key: str, data: bytes, *, replace: bool = False) -> str:
        """Store the bytes atomically; return their version.

        Raises `FileExistsError` where the key is taken, by any process, unless `replace`.
        """

    def delete(self, key: str) -> None:
        """On return nothing is stored under `key`."""


class MemoryBlobStore:
    """In memory until the process ends."""

    def __init__(self) -> None:
        self._data: dict[str, tuple[bytes, str]] = {}
        self._versions = count()

    def list(self) -> dict[str, str]:
        return {key: version for key, (_, version) in list(self._data.items())}

    def mark(self) -> str:
        return ""  # no other process shares it

    def read(self, key: str) -> bytes:
        return self._data[key][0]

    def write(self, key: str, data: bytes, *, replace: bool = False) -> str:
        version = str(next(self._versions))
        if replace:
            self._data[key] = data, version
        elif self._data.setdefault(key, (data, version))[1] != version:
            raise FileExistsError(errno.EEXIST, "is taken", key)
        return version

    def delete(self, key: str) -> None:
        self._data.pop(key, None)


class DirectoryBlobStore:
    """One file a key, private to its owner.

    A file is written under another name, synced, then renamed, under a lock that all servers of the directory share;
    names left behind by a crash are removed on start. Only regular files are opened.
    """

    def __init__(self, path: Path, insecure: bool = False) -> None:
        """Raises OSError for a `path` writable by others, unless `insecure`."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._thread = threading.Lock()
        self._check_writers(insecure)
        self._clean()

    def list(self) -> dict[str, str]:
        """One scan of the directory, with each file's status."""
        versions = {}
        with os.scandir(self._path) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    try:
                        versions[entry.name.removesuffix(_SUFFIX)] = _version(entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue  # deleted since
        return versions

    def mark(self) -> str:
        """Time of the last added or removed name.

        Within the clock's granularity more may follow unnoticed.
        """
        changed = self._path.stat().st_mtime_ns
        settled = abs(time.time_ns() - changed) > SETTLED_NS
        return f"{changed}" if settled else f"{changed} {time.monotonic_ns()}"

    def read(self, key: str) -> bytes:
        try:
            return _read_regular(self._file(key))
        except FileNotFoundError as error:
            raise KeyError(key) from error

    def write(self, key: str, data: bytes, *, replace: bool = False) -> str:
        """Write, sync, rename, sync the directory.

        Some milliseconds on a disk.
        """
        target = self._file(key)
        with self._locked(), NamedTemporaryFile(dir=self._path, prefix=".", suffix=_UNFINISHED, delete=False) as file:
            try:
                if not replace and os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                version = _version(os.fstat(file.fileno()))
                os.replace(file.name, target)
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
            self._sync()
        return version

    def delete(self, key: str) -> None:
        """Unlink, then sync the directory."""
        with self._locked():
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

    def _check_writers(self, insecure: bool) -> None:
        status = self._path.stat()
        if status.st_uid in (0, os.geteuid()) and not status.st_mode & _OTHERS:
            return
        mode, user = stat.S_IMODE(status.st_mode), status.st_uid
        described = f"{self._path} (user {user}, mode {mode:o})"
        refuse(
            f"others can write to the voice directory {described}, and plant voices: chown and chmod go-w it", insecure
        )

    def _clean(self) -> None:
        """Remove leftovers of crashes.

        Files that a live server is writing are behind the lock.
        """
        try:
            if not any(self._path.glob(f".*{_UNFINISHED}")):
                return
            with self._locked():
                for unfinished in self._path.glob(f".*{_UNFINISHED}"):
                    unfinished.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("unfinished files stay in the voice directory: %s", error)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the directory against other threads or servers.

        Raises TimeoutError, which is an OSError.
        """
        until = time.monotonic() + LOCK_SECONDS
        if not self._thread.acquire(timeout=LOCK_SECONDS):
            raise TimeoutError(errno.ETIMEDOUT, "other writes hold the voice directory", str(self._path))
        try:
            lock = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _flock(lock, until)
                yield
            finally:
                os.close(lock)
        finally:
            self._thread.release()


def _flock(lock: int, until: float) -> None:
    """`flock` has no time limit of its own."""
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "another server holds the voice directory") from None
            time.sleep(0.005)


def _version(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _read_regular(path: Path) -> bytes:
    """Content of a regular file of at most `MAX_BYTES`.

    Raises `DamagedVoice` for all else, and OSError.
    """
    _check_regular(os.lstat(path))  # opening a device may already have effects
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        _check_regular(os.fstat(descriptor))
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DamagedVoice(f"has more than {MAX_BYTES} bytes")
    return data


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DamagedVoice("is not a regular file")
