"""Created voices: kept whole or not at all, found by name, never reached by a path."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.errors import InvalidRequest, VoiceNotFound
from engine.byte_cache import ByteCache
from qwentts_grpc.voices.file import DamagedVoice, StoredVoice, VoiceCard, from_bytes, to_bytes
from qwentts_grpc.voices.storage import BlobStore, DirectoryBlobStore, MemoryBlobStore
from qwentts_grpc.voices.storage_by_url import open_storage
from qwentts_grpc.voices.store import VoiceStore
from qwentts_grpc.wire.errors import StorageFull, VoiceExists, VoicesFull


def voice(name: str = "anna", frames: int = 25, seed: int = 0) -> StoredVoice:
    random = np.random.default_rng(seed)
    card = VoiceCard(name, "tiny-base", 1_700_000_000_123_456_789, "Wörter, 語.", "warm", "ab" * 32, "form 7")
    codes = random.integers(0, 2_048, (frames, 16)).astype(np.int32)
    return StoredVoice(card, codes, random.standard_normal(64).astype(np.float32))


def same(one: StoredVoice, other: StoredVoice) -> bool:
    arrays = np.array_equal(one.codes, other.codes) and np.array_equal(one.embedding, other.embedding)
    return arrays and one.card == other.card


PLACES: dict[str, Callable[[Path], Path | str | None]] = {
    "memory": lambda path: None,
    "directory": lambda path: path,
    "objects": lambda path: f"memory:/{path}",
}


@pytest.fixture(params=list(PLACES))
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return open_storage(PLACES[request.param](tmp_path / "voices"))


def test_a_voice_comes_back_as_it_went_in_and_cannot_be_changed(shelf: BlobStore) -> None:
    store = VoiceStore(shelf, cache_bytes=0)
    store.create(voice())
    found = store.get("anna")
    assert same(found, voice())
    with pytest.raises(ValueError, match="read-only"):
        found.codes[0, 0] = 1


@pytest.mark.parametrize("frames", [0, 1, 750])
def test_a_file_holds_any_length_even_none(frames: int) -> None:
    assert same(from_bytes(to_bytes(voice(frames=frames))), voice(frames=frames))


def test_names_are_one_in_any_case_and_keep_the_case_they_were_given(shelf: BlobStore) -> None:
    store = VoiceStore(shelf)
    store.create(voice("Anna"))
    with pytest.raises(VoiceExists):
        store.create(voice("aNNa", seed=1))
    assert same(store.get("ANNA"), voice("Anna"))
    assert [card.name for card in store.cards()] == ["Anna"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../anna",
        "a/b",
        "a\\b",
        "/etc/passwd",
        ".hidden",
        "-x",
        "a.b",
        "a b",
        "a\n",
        "a\0",
        "é",
        "a" * 65,
    ],
)
def test_names_that_could_be_paths_are_refused_and_touch_nothing(tmp_path: Path, name: str) -> None:
    store = VoiceStore(DirectoryBlobStore(tmp_path / "voices"))
    with pytest.raises(InvalidRequest) as error:
        store.create(voice(name))
    assert error.value.field == "spec.name"
    for call in (store.get, store.card, store.delete):
        with pytest.raises(VoiceNotFound):
            call(name)
    assert [path.name for path in tmp_path.rglob("*")] == ["voices"]


def test_a_deleted_voice_is_gone_and_its_name_is_free_again(shelf: BlobStore) -> None:
    store = VoiceStore(shelf)
    store.create(voice())
    held = store.get("anna")
    store.delete("Anna")
    for call in (store.get, store.card, store.delete):
        with pytest.raises(VoiceNotFound):
            call("anna")
    assert not shelf.list() and store.cached_bytes == 0
    store.create(voice(seed=1))
    assert same(held, voice()) and same(store.get("anna"), voice(seed=1))


def test_voices_survive_a_restart(tmp_path: Path) -> None:
    store = VoiceStore(DirectoryBlobStore(tmp_path))
    for name in ("zoe", "Ben", "anna"):
        store.create(voice(name))
    store.delete("zoe")
    again = VoiceStore(DirectoryBlobStore(tmp_path))
    assert [card.name for card in again.cards()] == ["Ben", "anna"]
    assert same(again.get("ben"), voice("Ben"))


KILLED_MIDWAY = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_voice_store import voice
from qwentts_grpc.voices.storage import DirectoryBlobStore
from qwentts_grpc.voices.store import VoiceStore
store = VoiceStore(DirectoryBlobStore(Path({path!r})))
store.create(voice("before"))
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
os.{function} = die
store.create(voice("during"))
"""


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_crash_inside_a_write_leaves_the_other_voices_and_no_remains(tmp_path: Path, function: str) -> None:
    script = KILLED_MIDWAY.format(path=str(tmp_path), tests=str(Path(__file__).parent), function=function)
    run = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 and len(list(tmp_path.glob(".*.tmp"))) == 1
    store = VoiceStore(DirectoryBlobStore(tmp_path))
    assert [card.name for card in store.cards()] == ["before"]
    assert {path.name for path in tmp_path.iterdir()} == {"before.safetensors", ".lock"}
    store.create(voice("during"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    store = VoiceStore(DirectoryBlobStore(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFull):
            store.create(voice())
    assert store.cards() == [] and [path.name for path in tmp_path.iterdir()] == [".lock"]
    store.create(voice())


def test_a_voice_that_could_not_be_deleted_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(key: str) -> None:
        raise OSError(5, "Input/output error")

    shelf = DirectoryBlobStore(tmp_path)
    store = VoiceStore(shelf)
    store.create(voice())
    with monkeypatch.context() as patch:
        patch.setattr(shelf, "delete", stuck)
        with pytest.raises(OSError, match="Input/output"):
            store.delete("anna")
    assert same(store.get("anna"), voice())


def test_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    VoiceStore(DirectoryBlobStore(tmp_path / "voices")).create(voice())
    assert (tmp_path / "voices").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "voices" / "anna.safetensors").stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_reported_left_alone_and_its_name_stays_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = to_bytes(voice("anna"))
    (tmp_path / "anna.safetensors").write_bytes(good)
    (tmp_path / "cut.safetensors").write_bytes(good[:-7])
    (tmp_path / "other.safetensors").write_bytes(good)
    store = VoiceStore(DirectoryBlobStore(tmp_path))
    assert [card.name for card in store.cards()] == ["anna"]
    assert "'cut' is ignored" in caplog.text and "'other' is ignored" in caplog.text
    with pytest.raises(VoiceExists):
        store.create(voice("cut"))
    assert (tmp_path / "cut.safetensors").read_bytes() == good[:-7]


@given(data=st.binary(max_size=200), keep=st.integers(0, 600))
def test_bytes_that_are_no_voice_raise_one_error(data: bytes, keep: int) -> None:
    for damaged in (data, to_bytes(voice())[:keep], to_bytes(voice())[:keep] + data):
        with pytest.raises(DamagedVoice):
            from_bytes(damaged)


def test_arrays_of_another_kind_are_refused_before_they_are_kept() -> None:
    store, good = VoiceStore(MemoryBlobStore()), voice()
    for codes, embedding in ((good.codes.astype(np.int64), good.embedding), (good.codes, good.codes[0])):
        with pytest.raises(DamagedVoice):
            store.create(StoredVoice(good.card, codes, embedding))  # type: ignore[arg-type]
    assert store.cards() == []


def test_the_cache_is_bounded_counts_its_hits_and_drops_the_oldest(tmp_path: Path) -> None:
    lookups: list[bool] = []
    store = VoiceStore(DirectoryBlobStore(tmp_path), cache_bytes=2 * voice().size, on_lookup=lookups.append)
    for name in ("a", "b", "c"):
        store.create(voice(name))
    assert store.cached_bytes == 2 * voice().size
    for name in ("c", "b", "a", "b", "c"):  # a evicts c, and c then a
        assert store.get(name).card.name == name
    assert lookups == [True, True, False, True, False]
    assert store.cached_bytes == 2 * voice().size


@pytest.mark.timing
def test_a_created_voice_is_in_memory_at_once() -> None:
    lookups: list[bool] = []
    store = VoiceStore(MemoryBlobStore(), on_lookup=lookups.append)
    store.create(voice(frames=750))
    start = time.perf_counter()
    store.get("anna")
    assert lookups == [True] and time.perf_counter() - start < 0.005


def test_the_number_of_voices_is_bounded(shelf: BlobStore) -> None:
    store = VoiceStore(shelf, max_common=2)
    store.create(voice("a"))
    store.create(voice("b"))
    with pytest.raises(VoicesFull):
        store.create(voice("c"))
    store.delete("a")
    store.create(voice("c"))


def test_a_hundred_creates_at_once_keep_one_of_each_name(shelf: BlobStore) -> None:
    store = VoiceStore(shelf)

    def attempt(number: int) -> bool:
        try:
            store.create(voice(f"voice{number % 20}", seed=number))
        except VoiceExists:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = sum(pool.map(attempt, range(100)))
    assert won == 20 == len(store.cards()) == len(shelf.list())
    assert all(same(store.get(card.name), VoiceStore(shelf).get(card.name)) for card in store.cards())


def test_a_voice_deleted_while_it_is_read_does_not_come_back(shelf: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VoiceStore(shelf)
    store.create(voice())
    fresh, read = VoiceStore(shelf), shelf.read

    def overtaken(key: str) -> bytes:
        data = read(key)
        fresh.delete(key)
        return data

    monkeypatch.setattr(shelf, "read", overtaken)
    assert same(fresh.get("anna"), voice())
    assert fresh.cached_bytes == 0
    with pytest.raises(VoiceNotFound):
        fresh.get("anna")


def test_the_cache_counts_what_it_holds() -> None:
    cache: ByteCache[str, int] = ByteCache(10)
    cache.put("a", 1, 4)
    cache.put("a", 2, 6)
    cache.put("b", 3, 4)
    assert (cache.get("a"), cache.get("b"), cache.bytes) == (2, 3, 10)
    cache.put("huge", 4, 11)
    assert (cache.get("huge"), cache.bytes) == (None, 10)
    cache.put("c", 5, 1)
    assert (cache.get("a"), cache.get("c"), cache.bytes) == (None, 5, 5)
    cache.drop("b")
    cache.drop("b")
    assert cache.bytes == 1
