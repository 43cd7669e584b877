"""The storage of voices that a setting names."""

from pathlib import Path

from qwentts_grpc.voices.storage import BlobStore, DirectoryBlobStore, MemoryBlobStore


def open_storage(place: Path | str | None, insecure: bool = False) -> BlobStore:
    """Directory by its path, object store by its URL.

    None is this process's memory. Raises OSError of the storage.
    """
    if place is None:
        return MemoryBlobStore()
    if isinstance(place, Path):
        return DirectoryBlobStore(place, insecure)
    try:
        from qwentts_grpc.voices.storage_objects import ObjectBlobStore
    except ModuleNotFoundError as error:
        raise OSError(f"{place} needs {error.name}: pip install 'qwentts-grpc[server,s3]'") from error
    return ObjectBlobStore(place)
