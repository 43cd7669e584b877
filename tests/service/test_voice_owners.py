"""Owners of voices: what one tenant makes is not there for another, not by name, nor by time."""

import json
import logging
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from engine.api.errors import VoiceNotFound
from engine.api.request import SpeechRequest
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.admission.tenants import Access
from qwentts_grpc.voices.file import StoredVoice, to_bytes
from qwentts_grpc.voices.storage import DirectoryBlobStore, MemoryBlobStore
from qwentts_grpc.voices.store import VoiceStore
from qwentts_grpc.wire.errors import VoiceExists, VoicesFull

from .conftest import Failure, Running, config, failure, kinds, pcm, send, serving, text, turn
from .test_access import bearer
from .test_created_voices import create, names, upload
from .test_kinds import recording
from .test_tenants import ACME, BARE, GLOBEX, tokens  # noqa: F401  # a fixture
from .test_turns import assert_same_audio
from .test_voice_store import same, voice

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOSS = bearer("boss-1")
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND")
FORBIDDEN = (grpc.StatusCode.PERMISSION_DENIED, "VOICE_FORBIDDEN")
EXISTS = (grpc.StatusCode.ALREADY_EXISTS, "VOICE_EXISTS")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    base_checkpoint: Path,
    tokens: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("owners")
    settings = {"access": Access(tokens, tenant_voices=3), "audit_log": folder / "audit"}
    async with serving(base_checkpoint, folder / "voices", config=settings, max_speeches=2) as running:
        yield running
        await running.idle()


@pytest_asyncio.fixture(loop_scope="session")
async def shop(guarded: Running) -> AsyncIterator[Running]:
    """The server; afterwards all voices are gone."""
    yield guarded
    store = guarded.server.voices
    assert store is not None
    for card in store.all_cards():
        store.delete(card.name, card.owner)


async def make(running: Running, who: Any, name: str, audio: bytes = b"", **spec: Any) -> pb.Voice:
    answer = await running.voices.CreateVoice(upload(name, audio, **spec), metadata=who, timeout=60)
    made: pb.Voice = answer.voice
    return made


async def listed(running: Running, who: Any) -> list[pb.Voice]:
    return list((await running.voices.ListVoices(pb.ListVoicesRequest(), metadata=who)).voices)


def get(running: Running, who: Any, name: str) -> Any:
    return running.voices.GetVoice(pb.GetVoiceRequest(name=name), metadata=who)


def remove(running: Running, who: Any, name: str) -> Any:
    return running.voices.DeleteVoice(pb.DeleteVoiceRequest(name=name), metadata=who)


def say(running: Running, who: Any, name: str) -> Any:
    return running.stub.Synthesize(send([config(voice=name), text("Now speak.")]), metadata=who, timeout=60)


async def spoken(running: Running, who: Any, name: str) -> bytes:
    responses = [response async for response in say(running, who, name)]
    assert kinds(responses)[-1] == "summary"
    return pcm(responses)


def code(refused: Failure) -> tuple[grpc.StatusCode, str]:
    return refused.code, refused.reason


async def test_a_voice_is_seen_used_and_deleted_by_its_owner_alone(shop: Running) -> None:
    made = await make(shop, ACME, "anna", description="of a person")
    assert made.owner == "acme" and [each.name for each in await listed(shop, ACME)] == ["anna"]
    for who in (GLOBEX, BARE, BOSS, bearer("bare-2")):
        assert await listed(shop, who) == []
        for call in (get(shop, who, "anna"), say(shop, who, "anna"), remove(shop, who, "ANNA")):
            assert code(await failure(call)) == NOT_FOUND
    assert (await get(shop, ACME, "Anna")).voice == made
    assert await spoken(shop, ACME, "anna")
    await remove(shop, ACME, "anna")
    assert await listed(shop, ACME) == []


async def test_names_are_one_for_each_owner(shop: Running) -> None:
    await make(shop, ACME, "anna", recording(pitch=90))
    before = await spoken(shop, ACME, "anna")
    await make(shop, GLOBEX, "Anna", recording(pitch=300))
    await make(shop, BARE, "ANNA", recording(pitch=150))
    assert_same_audio(await spoken(shop, ACME, "anna"), before)
    assert len({await spoken(shop, who, "anna") for who in (ACME, GLOBEX, BARE)}) == 3
    assert (await listed(shop, BARE))[0].owner.startswith("sha256:")
    assert code(await failure(shop.voices.CreateVoice(upload("aNNA"), metadata=ACME))) == EXISTS
    await remove(shop, GLOBEX, "anna")
    assert_same_audio(await spoken(shop, ACME, "anna"), before)


@pytest.mark.parametrize("ask", [get, say, remove], ids=["get", "say", "remove"])
async def test_anothers_voice_and_none_at_all_have_the_same_answer(shop: Running, ask: Any) -> None:
    await make(shop, ACME, "theirs")
    answers = [await error_of(ask(shop, GLOBEX, name)) for name in ("theirs", "nobody")]
    assert answers[0].details() == str(answers[1].details()).replace("nobody", "theirs")
    assert "theirs" not in str((await error_of(ask(shop, GLOBEX, "nobody"))).details())


async def error_of(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    return raised.value


@pytest.mark.timing
async def test_anothers_voice_and_none_at_all_take_the_same_time() -> None:
    store = VoiceStore(MemoryBlobStore(), max_owned=200)
    for number in range(200):
        store.create(voice_of("acme", f"v{number}"))

    def seconds(name: str) -> float:
        begin = time.perf_counter()
        for _ in range(200):
            try:
                store.card(name, "globex")
            except VoiceNotFound:
                continue
        return time.perf_counter() - begin

    theirs, none = ([seconds(name) for _ in range(25)] for name in ("v7", "x7"))
    assert statistics.median(theirs) < 1.5 * statistics.median(none)


async def test_each_owner_has_a_quota(shop: Running) -> None:
    for number in range(3):
        await make(shop, ACME, f"v{number}")
    full = await failure(shop.voices.CreateVoice(upload("v3"), metadata=ACME))
    assert code(full) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "VOICES_FULL")
    await make(shop, GLOBEX, "v3")
    await make(shop, BOSS, "common", shared=True)
    await make(shop, ACME, "v2", replace=True)
    await remove(shop, ACME, "v0")
    await make(shop, ACME, "v3")


async def test_an_admin_shares_voices_that_others_may_only_use(shop: Running) -> None:
    made = await make(shop, BOSS, "house", shared=True, consent_reference="form 9")
    assert made.owner == "" and made.consent_reference == "form 9"
    assert_same_audio(await spoken(shop, ACME, "house"), await spoken(shop, BARE, "HOUSE"))
    (seen,) = await listed(shop, GLOBEX)
    assert (seen.name, seen.owner, seen.consent_reference) == ("house", "", "")
    assert code(await failure(remove(shop, ACME, "house"))) == FORBIDDEN
    for new in (False, True):
        assert code(await failure(shop.voices.CreateVoice(upload("house", replace=new), metadata=ACME))) == EXISTS
        call = shop.voices.CreateVoice(upload("mine", shared=True, replace=new), metadata=ACME)
        assert code(await failure(call)) == FORBIDDEN
    await make(shop, BOSS, "house", recording(pitch=90), shared=True, replace=True)
    await remove(shop, BOSS, "house")
    assert await listed(shop, ACME) == []


async def test_an_own_voice_comes_before_a_shared_one_of_its_name(shop: Running) -> None:
    await make(shop, ACME, "anna", recording(pitch=90))
    own = await spoken(shop, ACME, "anna")
    await make(shop, BOSS, "anna", recording(pitch=300), shared=True)
    assert_same_audio(await spoken(shop, ACME, "anna"), own)
    assert own != await spoken(shop, GLOBEX, "anna")
    assert [each.owner for each in await listed(shop, ACME)] == ["acme"]
    await remove(shop, ACME, "anna")
    assert [each.owner for each in await listed(shop, ACME)] == [""]


async def test_a_replaced_voice_speaks_anew_and_turns_go_on_with_the_old_one(shop: Running) -> None:
    await make(shop, ACME, "anna", recording(pitch=90))
    old = await spoken(shop, ACME, "anna")
    made = await make(shop, ACME, "Anna", recording(pitch=300), replace=True, description="newer")
    assert made.description == "newer" and [each.name for each in await listed(shop, ACME)] == ["Anna"]
    assert await spoken(shop, ACME, "anna") != old
    await make(shop, ACME, "new", replace=True)
    assert len(await listed(shop, ACME)) == 2


async def test_nothing_that_one_owner_has_cached_serves_another(shop: Running) -> None:
    await make(shop, ACME, "anna")
    catalog = shop.server.state.catalog()
    engine, kept = shop.engine, await catalog.load("anna", "acme")
    assert engine._prompt_builder.is_ready(SpeechRequest(kept=kept))
    other = replace(kept, scope="another")
    assert not engine._prompt_builder.is_ready(SpeechRequest(kept=other))


async def test_whoever_changes_voices_leaves_a_line(shop: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    audit = shop.server.config.audit_log
    assert audit is not None
    before = len(audit.read_text().splitlines())
    await make(shop, ACME, "anna", consent_reference="form 7")
    await make(shop, ACME, "anna", replace=True)
    await failure(remove(shop, GLOBEX, "anna"))
    await remove(shop, ACME, "anna")
    lines = [json.loads(line) for line in audit.read_text().splitlines()[before:]]
    assert [(line["event"], line["tenant"], line["outcome"]) for line in lines] == [
        ("create", "acme", "OK"),
        ("replace", "acme", "OK"),
        ("delete", "globex", "VOICE_NOT_FOUND"),
        ("delete", "acme", "OK"),
    ]
    assert lines[0]["consent_reference"] == "form 7" and lines[0]["audio_sha256"] == lines[3]["audio_sha256"]
    assert all(line["peer"].startswith("ipv4:127.0.0.1:") and line["request_id"] for line in lines)
    assert sum("recording" in record.getMessage() for record in caplog.records) == 4


async def test_without_tenants_all_voices_are_everybodys(base_checkpoint: Path) -> None:
    async with serving(base_checkpoint) as running:
        made = await create(running, "anna", consent_reference="form 7")
        assert (made.owner, made.consent_reference) == ("", "form 7")
        assert await names(running) == ["anna"]
        await create(running, "anna", replace=True)
        await create(running, "bob", shared=True)
        for name in ("anna", "bob"):
            await running.voices.DeleteVoice(pb.DeleteVoiceRequest(name=name))


async def test_voices_from_before_there_were_tenants_are_shared(
    base_checkpoint: Path,
    tokens: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with serving(base_checkpoint, tmp_path / "voices") as running:
        await create(running, "old")
        before = pcm(await turn(running, config(voice="old"), text("Now speak.")))
    async with serving(base_checkpoint, tmp_path / "voices", config={"access": Access(tokens)}) as running:
        for who in (ACME, BARE):
            assert_same_audio(await spoken(running, who, "old"), before)
            assert code(await failure(remove(running, who, "old"))) == FORBIDDEN
        await make(running, ACME, "new")
        await remove(running, BOSS, "old")
    async with serving(base_checkpoint, tmp_path / "voices", config={"access": Access(tokens)}) as running:
        assert [each.name for each in await listed(running, ACME)] == ["new"]
        assert await listed(running, BARE) == []


# ---- the store by itself


def voice_of(owner: str, name: str = "anna", **fields: Any) -> StoredVoice:
    made = voice(name, **fields)
    return replace(made, card=replace(made.card, owner=owner))


@pytest.mark.parametrize("shelf", ["memory", "directory"])
async def test_owners_keep_their_voices_apart(shelf: str, tmp_path: Path) -> None:
    kept = MemoryBlobStore() if shelf == "memory" else DirectoryBlobStore(tmp_path)
    store = VoiceStore(kept, cache_bytes=0)
    owners = ["", "acme", "globex", "Acme", "a/../b", "sha256:" + "0" * 64, "*", "é\n"]
    for seed, owner in enumerate(owners[1:], 1):
        store.create(voice_of(owner, seed=seed))
    store.create(voice_of("", seed=0))
    for each in (store, VoiceStore(kept)):
        for seed, owner in enumerate(owners):
            assert same(each.get("ANNA", owner), voice_of(owner, seed=seed))
        assert len(each.all_cards()) == len(owners)
    store.delete("anna", "acme")
    assert same(store.get("anna", "acme"), voice_of("", seed=0))
    with pytest.raises(VoiceNotFound):
        store.delete("anna", "acme")


async def test_a_name_with_an_owners_mark_in_it_finds_nothing() -> None:
    shelf = MemoryBlobStore()
    store = VoiceStore(shelf)
    store.create(voice_of("acme"))
    (key,) = shelf.list()
    for owner in ("", "globex"):
        for name in (key, f"{key}.safetensors", key.removesuffix("@")):
            with pytest.raises(VoiceNotFound):
                store.get(name, owner)


async def test_a_file_that_says_another_owner_than_its_name_is_nobodys(tmp_path: Path) -> None:
    store = VoiceStore(DirectoryBlobStore(tmp_path))
    store.create(voice_of("acme"))
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(to_bytes(voice_of("globex")))
    again = VoiceStore(DirectoryBlobStore(tmp_path))
    assert again.all_cards() == []
    with pytest.raises(VoiceExists):
        again.create(voice_of("acme"))


async def test_quotas_count_what_another_server_made(tmp_path: Path) -> None:
    one, other = (VoiceStore(DirectoryBlobStore(tmp_path), max_owned=2) for _ in range(2))
    one.create(voice_of("acme", "a"))
    one.create(voice_of("acme", "b"))
    other.refresh()
    with pytest.raises(VoicesFull):
        other.create(voice_of("acme", "c"))
    other.create(voice_of("globex", "c"))
