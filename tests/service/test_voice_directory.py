"""A directory of voices among strangers: whatever lies there, whoever else writes there."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from engine.api.errors import VoiceNotFound
from qwentts_grpc.voices.file import VoiceCard, to_bytes
from qwentts_grpc.voices.storage import MAX_BYTES, DirectoryBlobStore
from qwentts_grpc.voices.store import VoiceStore
from qwentts_grpc.wire.errors import VoiceExists

from .conftest import Running, config, kinds, serving, text, turn
from .test_created_voices import create, delete, names
from .test_voice_store import same, voice

CARD = {"name": "bad", "model": "tiny-base", "create_time_ns": 1}


def store_in(path: Path) -> VoiceStore:
    return VoiceStore(DirectoryBlobStore(path))


def file_with(card: Any, **arrays: Any) -> bytes:
    """A voice file whose card is anything."""
    tensors = {"codes": np.zeros((3, 16), np.int32), "embedding": np.zeros(64, np.float32), **arrays}
    words = card if isinstance(card, str) else json.dumps(card)
    return save(tensors, {"format": "qwentts-voice-1", "card": words})


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


KINDS: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "socket": bound_socket,
    "link to a voice": lambda path: path.symlink_to(path.parent / "good.safetensors"),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "link to a folder": lambda path: path.symlink_to(path.parent),
    "huge": sparse,
    "one byte too many": lambda path: path.write_bytes(to_bytes(voice("bad")).ljust(MAX_BYTES + 1, b" ")),
    "empty": lambda path: path.touch(),
}


@pytest.mark.timing
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_what_is_no_regular_small_file_is_one_line_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    store_in(tmp_path).create(voice("good"))
    path = tmp_path / "bad.safetensors"
    make(path)
    before = path.lstat()
    began = time.monotonic()
    store = store_in(tmp_path)
    assert time.monotonic() - began < 1
    assert [card.name for card in store.cards()] == ["good"]
    assert [line.count("'bad' is ignored") for line in caplog.messages] == [1]
    with pytest.raises(VoiceExists):
        store.create(voice("bad"))
    store.refresh()
    assert len(caplog.messages) == 1 and path.lstat().st_ino == before.st_ino


CARDS: dict[str, Any] = {
    "name is a number": {**CARD, "name": 5},
    "name is nothing": {**CARD, "name": None},
    "name is a list": {**CARD, "name": ["bad"]},
    "name is a path": {**CARD, "name": "../bad"},
    "model is a number": {**CARD, "model": 1},
    "time is text": {**CARD, "create_time_ns": "now"},
    "time is a fraction": {**CARD, "create_time_ns": 1.5},
    "time is a truth": {**CARD, "create_time_ns": True},
    "time is not finite": '{"name": "bad", "model": "m", "create_time_ns": Infinity}',
    "time is before all time": {**CARD, "create_time_ns": -1},
    "time is after all time": {**CARD, "create_time_ns": 10**30},
    "time has ten thousand digits": f'{{"name": "bad", "model": "m", "create_time_ns": {"9" * 10_000}}}',
    "transcript is null": {**CARD, "transcript": None},
    "transcript is endless": {**CARD, "transcript": "x" * 10_001},
    "description is half a character": {**CARD, "description": "\ud800"},
    "consent is a table": {**CARD, "consent_reference": {}},
    "owner is a number": {**CARD, "owner": 7},
    "digest is a number": {**CARD, "audio_sha256": 7},
    "unknown field": {**CARD, "admin": True},
    "missing field": {"name": "bad"},
    "a list": [],
    "a number": 5,
    "no JSON": "{",
    "a deep nest": "[" * 100_000,
}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_a_card_of_any_kind_spoils_its_own_voice_alone(
    tmp_path: Path, card: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store_in(tmp_path).create(voice("good"))
    (tmp_path / "bad.safetensors").write_bytes(file_with(card))
    store = store_in(tmp_path)
    assert [card.name for card in store.cards()] == ["good"]
    assert len(caplog.messages) == 1 and "'bad' is ignored" in caplog.text


@pytest.mark.parametrize(
    "arrays",
    [
        {"embedding": np.full(64, np.nan, np.float32)},
        {"embedding": np.full(64, np.inf, np.float32)},
        {"embedding": np.zeros((2, 2), np.float32)},
        {"codes": np.zeros((3_002, 16), np.int32)},
        {"codes": np.zeros((3, 16), np.int64)},
        {"codes": np.zeros(3, np.int32)},
    ],
    ids=lambda arrays: " ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()),
)
def test_arrays_that_no_speech_could_use_are_no_voice(tmp_path: Path, arrays: dict[str, Any]) -> None:
    (tmp_path / "bad.safetensors").write_bytes(file_with(CARD, **arrays))
    assert store_in(tmp_path).cards() == []


def test_a_card_from_before_there_were_owners_is_everybodys(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(file_with(CARD))
    assert store_in(tmp_path).card("bad") == VoiceCard("bad", "tiny-base", 1, owner="")


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"\x1b[31m", "ü".encode(), b"a@", b"@b", b"a@b@c"])
def test_names_of_files_are_strangers_words(tmp_path: Path, name: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (Path(os.fsdecode(bytes(tmp_path) + b"/" + name + b".safetensors"))).write_bytes(to_bytes(voice("anna")))
    assert store_in(tmp_path).cards() == []
    (line,) = caplog.messages
    assert line.isascii() and line.isprintable()


@pytest.mark.parametrize("fault", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_file_that_cannot_be_opened_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: OSError
) -> None:
    for name in ("good", "bad"):
        store_in(tmp_path).create(voice(name))
    opened = os.open

    def refusing(path: Any, *rest: Any, **named: Any) -> int:
        if str(path).endswith("bad.safetensors"):
            raise fault
        return opened(path, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)
    assert [card.name for card in store_in(tmp_path).cards()] == ["good"]
    assert caplog.messages == [f"voice file 'bad' is ignored: {fault.strerror}"]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777, 0o2775])
def test_a_directory_that_others_can_write_to_is_refused(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(OSError, match=f"mode {mode:o}.*--insecure") as raised:
        DirectoryBlobStore(tmp_path)
    assert "\n" not in str(raised.value) and not caplog.messages
    VoiceStore(DirectoryBlobStore(tmp_path, insecure=True)).create(voice())
    assert len(caplog.messages) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12_345, -1)
    with pytest.raises(OSError, match="user 12345"):
        DirectoryBlobStore(tmp_path)


def test_a_file_in_place_of_the_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        DirectoryBlobStore(tmp_path / "file")


def test_an_unfinished_name_that_is_a_folder_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".x.tmp").mkdir()
    store_in(tmp_path).create(voice())
    assert "unfinished" in caplog.text


# ---- several servers on one directory


def test_each_server_sees_what_the_other_makes_replaces_and_deletes(tmp_path: Path) -> None:
    one, other = store_in(tmp_path), store_in(tmp_path)
    one.create(voice())
    other.refresh()
    assert same(other.get("anna"), voice())
    other.create(voice(seed=1), replace=True)
    one.refresh()
    assert same(one.get("anna"), voice(seed=1))
    one.delete("anna")
    other.refresh()
    for call in (other.get, other.card, other.delete):
        with pytest.raises(VoiceNotFound):
            call("anna")
    assert other.cards() == [] and other.cached_bytes == 0


def test_a_name_is_taken_once_for_all_servers_even_before_they_have_looked(tmp_path: Path) -> None:
    one, other = store_in(tmp_path), store_in(tmp_path)
    one.create(voice())
    with pytest.raises(VoiceExists):
        other.create(voice(seed=1))
    assert same(one.get("anna"), voice())


def test_a_voice_deleted_by_another_server_is_not_found(tmp_path: Path) -> None:
    one, other = store_in(tmp_path), VoiceStore(DirectoryBlobStore(tmp_path), cache_bytes=0)
    other.create(voice())
    one.refresh()
    one.delete("anna")
    with pytest.raises(VoiceNotFound):
        other.get("anna")


def test_a_voice_edited_in_place_is_read_again(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.create(voice())
    path = tmp_path / "anna.safetensors"
    path.write_bytes(b"half a fi")
    store.refresh()
    assert store.cards() == []
    path.write_bytes(to_bytes(voice(seed=2)))
    store.refresh()
    assert same(store.get("anna"), voice(seed=2))


def test_what_changes_here_while_the_shelf_is_looked_at_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = DirectoryBlobStore(tmp_path)
    store, listed = VoiceStore(shelf), shelf.list
    store.create(voice("old"))

    def late() -> dict[str, str]:
        found = listed()
        store.create(voice("new"))
        store.create(voice("old", seed=1), replace=True)
        return found

    monkeypatch.setattr(shelf, "list", late)
    store.refresh()
    assert [card.name for card in store.cards()] == ["new", "old"]
    assert same(store.get("old"), voice("old", seed=1))


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_voice_store import voice
from qwentts_grpc.voices.storage import DirectoryBlobStore
from qwentts_grpc.wire.errors import VoiceExists
from qwentts_grpc.voices.store import VoiceStore
made = 0
for number in range(40):
    try:
        VoiceStore(DirectoryBlobStore(Path({path!r}))).create(voice(f"v{{number % 20}}"))
        made += 1
    except VoiceExists:
        pass
print(made)
"""


def test_processes_that_write_at_once_keep_one_of_each_name_and_lose_none(tmp_path: Path) -> None:
    script = WRITER.format(path=str(tmp_path), tests=str(Path(__file__).parent))

    def write(_: int) -> int:
        command, root = [sys.executable, "-c", script], Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, timeout=60, check=True, capture_output=True, text=True)
        return int(done.stdout)

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(write, range(3))) == 20
    assert len(store_in(tmp_path).cards()) == 20
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.fixture
def following(tmp_path: Path) -> Iterator[VoiceStore]:
    store, stop = store_in(tmp_path), Event()
    thread = Thread(target=store.follow, args=(0.01, stop), daemon=True)
    thread.start()
    yield store
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_shelf_that_fails_for_a_while_is_reported_once_and_followed_on(
    tmp_path: Path, following: VoiceStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:

        def gone(path: Any) -> Any:
            raise OSError(116, "Stale file handle")

        patch.setattr(os, "scandir", gone)
        eventually(lambda: bool(caplog.messages))
        time.sleep(0.1)
    assert len(caplog.messages) == 1 and "Stale file handle" in caplog.text
    store_in(tmp_path).create(voice())
    eventually(lambda: [card.name for card in following.cards()] == ["anna"])


@pytest.mark.asyncio(loop_scope="session")
async def test_a_server_starts_among_bad_files_and_two_share_their_voices(
    tmp_path: Path, base_checkpoint: Path
) -> None:
    folder = tmp_path / "voices"
    folder.mkdir(mode=0o700)
    for number, make in enumerate(KINDS.values()):
        make(folder / f"k{number}.safetensors")
    for number, card in enumerate(CARDS.values()):
        (folder / f"c{number}.safetensors").write_bytes(file_with(card))
    async with serving(base_checkpoint, folder) as one, serving(base_checkpoint, folder) as other:
        await create(one, "anna")
        await seen(other, ["anna"])
        assert kinds(await turn(other, config(voice="anna"), text("Hi.")))[-1] == "summary"
        await delete(other, "anna")
        await seen(one, [])


async def seen(running: Running, expected: list[str]) -> None:
    until = time.monotonic() + 5
    while await names(running) != expected:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
