"""Voices in an object store: many writers, all read the same within seconds, faults lose nothing."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest

from engine.api.errors import VoiceNotFound
from qwentts_grpc.cli.flags import _voice_place
from qwentts_grpc.voices.file import to_bytes
from qwentts_grpc.voices.storage import MAX_BYTES
from qwentts_grpc.voices.storage_by_url import open_storage
from qwentts_grpc.voices.storage_objects import ObjectBlobStore
from qwentts_grpc.voices.store import VoiceStore
from qwentts_grpc.wire.errors import VoiceExists

from .conftest import config, kinds, serving, text, turn
from .test_created_voices import create, delete
from .test_voice_directory import eventually, seen
from .test_voice_store import same, voice

pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An S3 server on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("voices")
        yield "s3://voices"
    server.stop()


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest) -> str:
    base = request.getfixturevalue("bucket") if request.param == "s3" else "memory://voices"
    return f"{base}/{uuid4().hex}"


def stores(url: str, number: int = 2, **options: Any) -> list[VoiceStore]:
    return [VoiceStore(ObjectBlobStore(url), **options) for _ in range(number)]


def test_a_voice_made_by_one_is_spoken_by_the_other_until_it_is_deleted(url: str) -> None:
    one, other = stores(url)
    one.create(voice())
    with pytest.raises(VoiceNotFound):
        other.get("anna")
    other.refresh()
    assert same(other.get("anna"), voice())
    one.delete("anna")
    other.refresh()
    with pytest.raises(VoiceNotFound):
        other.get("anna")
    assert other.cached_bytes == 0


def test_followers_see_every_change_within_seconds(url: str) -> None:
    one, other = stores(url)
    stop = Event()
    thread = Thread(target=other.follow, args=(0.05, stop), daemon=True)
    thread.start()
    try:
        one.create(voice())
        eventually(lambda: [card.name for card in other.cards()] == ["anna"])
        one.create(voice(seed=1), replace=True)
        eventually(lambda: same(other.get("anna"), voice(seed=1)))
        one.delete("anna")
        eventually(lambda: not other.cards())
    finally:
        stop.set()
        thread.join(5)


def test_a_name_is_taken_once_by_writers_that_have_not_looked(url: str) -> None:
    one, other = stores(url)
    one.create(voice())
    with pytest.raises(VoiceExists):
        other.create(voice(seed=1))
    other.refresh()
    assert same(other.get("anna"), voice())


def test_writers_at_once_keep_one_of_each_name_and_lose_none(bucket: str) -> None:
    writers = stores(f"{bucket}/{uuid4().hex}", 4)

    def write(store: VoiceStore) -> int:
        made = 0
        for number in range(8):
            try:
                store.create(voice(f"v{number}"))
                made += 1
            except VoiceExists:
                store.refresh()
        return made

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, writers)) == 8
    for store in writers:
        store.refresh()
        assert len(store.cards()) == 8


def test_a_replaced_voice_is_the_last_writers_for_all(url: str) -> None:
    one, other = stores(url)
    one.create(voice())
    other.refresh()
    one.create(voice(seed=1), replace=True)
    other.create(voice(seed=2), replace=True)
    for store in (one, other):
        store.refresh()
        assert same(store.get("anna"), voice(seed=2))


def test_objects_that_are_no_voices_are_reported_and_left_alone(url: str, caplog: pytest.LogCaptureFixture) -> None:
    store = ObjectBlobStore(url)
    for key, data in {"empty": b"", "noise": b"\xff" * 100, "huge": b"0" * (MAX_BYTES + 1)}.items():
        store.write(key, data)
    store.write("other", to_bytes(voice("anna")))
    store.write("good", to_bytes(voice("good")))
    (kept,) = stores(url, 1)
    assert [card.name for card in kept.cards()] == ["good"]
    assert sum(record.name == "qwentts_grpc.voices.store" for record in caplog.records) == 4
    with pytest.raises(VoiceExists):
        kept.create(voice("empty"))


def test_other_objects_of_the_folder_are_no_voices(url: str) -> None:
    store = ObjectBlobStore(url)
    store.write("anna", b"1")
    for name in ("notes.txt", ".hidden.safetensors", "below/x.safetensors"):
        store._files.pipe_file(f"{store._folder}/{name}", b"1")
    assert list(store.list()) == ["anna"]


def test_the_mark_stays_until_something_changes(url: str) -> None:
    store, other = ObjectBlobStore(url), ObjectBlobStore(url)
    assert store.mark() == other.mark() == ""
    store.write("a", b"1")
    marks = [other.mark()]
    store.write("a", b"2", replace=True)
    marks.append(other.mark())
    other.delete("a")
    marks.append(store.mark())
    assert len(set(marks)) == 3 and store.mark() == marks[-1]
    other.delete("a")  # on return nothing is stored, whoever deleted it
    with pytest.raises(KeyError):
        store.read("a")


def test_a_mark_that_failed_is_written_by_the_next_look(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = ObjectBlobStore(url), ObjectBlobStore(url)
    store.write("a", b"1")
    before, put = other.mark(), store._files.pipe_file

    def fail(path: str, *_: Any, **__: Any) -> None:
        if path.endswith(".changed"):
            raise RuntimeError("no route")
        put(path, *_, **__)

    with monkeypatch.context() as patch:
        patch.setattr(store._files, "pipe_file", fail)
        store.write("b", b"2")
    assert other.mark() == before
    assert store.mark() != before
    assert other.mark() == store.mark()


def test_a_change_without_a_mark_is_found_by_the_thorough_look() -> None:
    url = f"memory://voices/{uuid4().hex}"
    one, other = stores(url)
    one.create(voice())
    stop = Event()
    thread = Thread(target=other.follow, args=(0.01, stop), daemon=True)
    thread.start()
    eventually(lambda: bool(other.cards()))
    storage = ObjectBlobStore(url)
    storage._files.rm_file(f"{storage._folder}/anna.safetensors")  # by an operator's own tool
    eventually(lambda: not other.cards())
    stop.set()
    thread.join(5)


def test_faults_of_an_implementation_are_os_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectBlobStore("memory://voices/faults")

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("EndpointConnectionError")

    for name in ("ls", "info", "pipe_file", "rm_file"):
        monkeypatch.setattr(store._files, name, broken)
    for call in (
        store.list,
        store.mark,
        lambda: store.read("a"),
        lambda: store.write("a", b""),
        lambda: store.delete("a"),
    ):
        with pytest.raises(OSError, match="EndpointConnectionError"):
            call()


def test_a_silent_store_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setattr("qwentts_grpc.voices.storage_objects.TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        began = time.monotonic()
        with pytest.raises(OSError):
            VoiceStore(ObjectBlobStore("s3://nowhere/voices"))
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("place", ["nonsense://bucket", "s4://x/y"])
def test_an_unknown_kind_of_url_is_an_os_error(place: str) -> None:
    with pytest.raises(OSError, match=r"://"):
        open_storage(place)


def test_the_flag_takes_directories_and_urls() -> None:
    assert _voice_place("some/folder") == Path("some/folder")
    assert _voice_place("file:///srv/a%20b") == Path("/srv/a b")
    assert _voice_place("s3://bucket/voices") == "s3://bucket/voices"


@pytest.mark.asyncio(loop_scope="session")
async def test_two_servers_share_voices_of_an_object_store(base_checkpoint: Path) -> None:
    place = f"memory://voices/{uuid4().hex}"
    async with serving(base_checkpoint, place) as one, serving(base_checkpoint, place) as other:
        await create(one, "anna")
        await seen(other, ["anna"])
        assert kinds(await turn(other, config(voice="anna"), text("Hi.")))[-1] == "summary"
        await delete(other, "anna")
        await seen(one, [])
