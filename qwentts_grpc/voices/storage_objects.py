"""Storage of voices in an object store, by fsspec.

S3, Google Cloud Storage, Azure, whatever has a URL there.
"""

import errno
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import fsspec

from qwentts_grpc.voices.file import DamagedVoice
from qwentts_grpc.voices.storage import MAX_BYTES

TIMEOUT = 10.0  # seconds for one operation

_SUFFIX, _MARK = ".safetensors", ".changed"
_MARK_BYTES = 64
# What file systems call the state of an object's bytes.
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "content_settings", "mtime", "LastModified", "last_modified")

_log = logging.getLogger(__name__)


class ObjectBlobStore:
    """One object a key, under a URL.

    A folder's or a bucket's.
    A put is whole or not at all; a new key is put on the condition that it is free, which the store decides for all
    writers. An object of random bytes is put anew after each change: as long as it stays, nothing has changed. Access
    is the bucket's own; credentials come from the environment, as its fsspec implementation reads them.
    """

    def __init__(self, url: str) -> None:
        """Raises OSError for an unknown protocol, or one not installed."""
        with _only_os_errors(url):
            self._files, self._folder = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        self._limits = {"timeout": TIMEOUT} if self._files.async_impl else {}
        self._unmarked = False

    def list(self) -> dict[str, str]:
        """One listing of the folder.

        A request for each thousand keys.
        """
        try:
            with _only_os_errors(self._folder):
                self._files.invalidate_cache()
                found = self._files.ls(self._folder, detail=True, **self._limits)
        except FileNotFoundError:
            return {}  # a folder without objects
        named = ((_name(entry), entry) for entry in found if entry.get("type") == "file")
        return {
            name.removesuffix(_SUFFIX): _version(entry)
            for name, entry in named
            if name.endswith(_SUFFIX) and not name.startswith(".")
        }

    def mark(self) -> str:
        """The mark's bytes: one small read.

        A mark that could not be written after a change is written first.
        """
        if self._unmarked:
            self._unmarked = False
            self._mark()
        try:
            return self._head(f"{self._folder}/{_MARK}", _MARK_BYTES).hex()
        except FileNotFoundError:
            return ""

    def read(self, key: str) -> bytes:
        try:
            data = self._head(self._path(key), MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise KeyError(key) from error
        if len(data) > MAX_BYTES:
            raise DamagedVoice(f"has more than {MAX_BYTES} bytes")
        return data

    def write(self, key: str, data: bytes, *, replace: bool = False) -> str:
        """Put the object, then the mark; returns no listed version.

        The version in a listing may be of another writer's bytes by then, so the next refresh reads the object again.
        """
        path = self._path(key)
        with _only_os_errors(path):
            self._files.pipe_file(path, data, mode="overwrite" if replace else "create", **self._limits)
        self._mark()
        return f"written {uuid4().hex}"

    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(FileNotFoundError), _only_os_errors(path):
            self._files.rm_file(path, **self._limits)
        self._mark()

    def _mark(self) -> None:
        """Put a new mark, or leave it to `mark`.

        The change itself is done, so it is no error of its caller.
        """
        try:
            with _only_os_errors(self._folder):
                self._files.pipe_file(f"{self._folder}/{_MARK}", uuid4().bytes, **self._limits)
        except OSError as error:
            self._unmarked = True
            _log.warning("other servers see a changed voice later: %s", error)

    def _head(self, path: str, most: int) -> bytes:
        """The first bytes.

        Some stores refuse a range of an empty object.
        """
        with _only_os_errors(path):
            if not self._files.info(path, **self._limits)["size"]:
                return b""
            data: bytes = self._files.cat_file(path, start=0, end=most, **self._limits)
        return data

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}{_SUFFIX}"


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rpartition("/")[2]


def _version(entry: Mapping[str, Any]) -> str:
    states = (str(entry[name]) for name in (*_VERSIONS, "created", "size") if name in entry)
    return " ".join(states)


@contextmanager
def _only_os_errors(where: str) -> Iterator[None]:
    """Raise OSError for whatever an implementation raises.

    Each has errors of its own for lost connections or missing credentials.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", where) from error
