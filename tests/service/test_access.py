"""Tokens and tenants: who may call, and how many turns each tenant may have open."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from engine.api.config import EngineConfig
from qwentts_client.client import AsyncClient
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.admission.auth import Tokens, read_tokens
from qwentts_grpc.admission.tenants import Access
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server
from qwentts_grpc.wire.errors import Unauthenticated

from .conftest import Running, config, failure, kinds, send, text
from .test_lifecycle import SERVING, health

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILE = """
# who may call
alpha-1 alpha
alpha-2 alpha
beta-1  beta

nobody-1
nobody-2
"""


def bearer(token: str, **more: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"), *more.items())


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("access") / "tokens"
    path.write_text(FILE)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(checkpoint: Path, token_file: Path) -> AsyncIterator[Running]:
    access = Access(token_file, tenant_key="x-tenant", tenant_limit=2)
    engine = EngineConfig(max_speeches=6)
    server = Server(
        ServerConfig(str(checkpoint), port=0, metrics_port=0, access=access, reflection=False, engine=engine)
    )
    port, side_port = await server.start()
    await server.load()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        running = Running(server, port, side_port, channel)
        yield running
        await running.idle()
    await server.close()


def speak(running: Running, metadata: Any, *requests: pb.SynthesizeRequest | float) -> Any:
    return running.stub.Synthesize(send(requests or [config(), text("Hello.")]), metadata=metadata, timeout=20)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        bearer(""),
        bearer("alpha"),
        bearer("alpha-1 alpha"),
        bearer("alpha-11"),
        bearer("ALPHA-1"),
        (("authorization", "alpha-1"),),
        (("authorization", "Basic alpha-1"),),
        (("authorization-bin", b"Bearer alpha-1"),),
        (("x-tenant", "alpha"),),
    ],
    ids=str,
)
async def test_without_a_known_token_nothing_is_answered(guarded: Running, metadata: Any) -> None:
    before, unauthenticated = guarded.sample("tts_unauthenticated_total"), strangers(guarded)
    voices = guarded.voices.ListVoices(pb.ListVoicesRequest(), metadata=metadata)
    info = guarded.stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata)
    one = guarded.stub.SynthesizeText(pb.SynthesizeTextRequest(text="Hello."), metadata=metadata)
    for call in (speak(guarded, metadata), voices, info, one):
        refused = await failure(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
        assert not await call.initial_metadata()
    assert guarded.sample("tts_unauthenticated_total") == before + 4
    assert strangers(guarded) == [count + 1 for count in unauthenticated]


def strangers(guarded: Running) -> list[float]:
    """Calls that ended in UNAUTHENTICATED, by method."""
    methods = ("TTSService", "Synthesize"), ("TTSService", "SynthesizeText"), ("VoiceService", "ListVoices")
    labels = [{"grpc_service": f"qwentts.v1.{service}", "grpc_method": method} for service, method in methods]
    return [guarded.sample("grpc_server_handled_total", grpc_code="UNAUTHENTICATED", **each) for each in labels]


async def test_health_needs_no_token(guarded: Running) -> None:
    assert await health(guarded.channel) == {SERVING}


async def test_reflection_can_be_switched_off(guarded: Running) -> None:
    for version in ("v1", "v1alpha"):
        ask: Any = guarded.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        refused = await failure(ask(iter([b""]), metadata=bearer("alpha-1")))
        assert refused.code is grpc.StatusCode.UNIMPLEMENTED


async def test_the_client_sends_its_token(guarded: Running) -> None:
    async with AsyncClient(guarded.address, token="beta-1") as client:
        assert await client.voices() and (await client.server_info()).models
        assert [frame async for frame in client.synthesize("Hello.", config=config().config)][-1].last


async def test_a_reload_rotates_tokens_and_keeps_them_where_it_fails(guarded: Running, token_file: Path) -> None:
    try:
        for content in ("alpha-3 alpha\n", "too many words here\n", "# nobody\n"):
            token_file.write_text(content)
            guarded.server.files.reload()
            assert kinds([response async for response in speak(guarded, bearer("alpha-3"))])[-1] == "summary"
            assert (await failure(speak(guarded, bearer("alpha-1")))).code is grpc.StatusCode.UNAUTHENTICATED
    finally:
        token_file.write_text(FILE)
        guarded.server.files.reload()


async def hold(running: Running, metadata: Any) -> Any:
    """A turn that stays open."""
    call = speak(running, metadata, config(60.0), text("I hold the place."), 60.0)
    await call.read()
    return call


@pytest.mark.parametrize(
    ("holders", "refused", "welcome"),
    [
        ((bearer("alpha-1"), bearer("alpha-2")), bearer("alpha-1"), bearer("beta-1")),
        ((bearer("beta-1"), bearer("beta-1")), bearer("beta-1", **{"x-tenant": "other"}), bearer("alpha-1")),
        ((bearer("nobody-1"), bearer("nobody-1")), bearer("nobody-1"), bearer("nobody-2")),
        (
            (bearer("nobody-1", **{"x-tenant": "alpha"}), bearer("nobody-1", **{"x-tenant": "other"})),
            bearer("nobody-1", **{"x-tenant": "new"}),
            bearer("alpha-1"),
        ),
    ],
    ids=["two tokens", "the token comes first", "a token without a tenant is one", "the key is not believed"],
)
async def test_a_tenant_has_so_many_turns(guarded: Running, holders: Any, refused: Any, welcome: Any) -> None:
    calls = [await hold(guarded, metadata) for metadata in holders]
    before = guarded.sample("tts_requests_rejected_total", reason="tenant_limit")
    call = speak(guarded, refused)
    answer = await failure(call)
    assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TENANT_LIMIT")
    assert answer.retry_milliseconds == int(answer.trailers["grpc-retry-pushback-ms"]) > 0
    assert not await call.initial_metadata()
    assert guarded.sample("tts_requests_rejected_total", reason="tenant_limit") == before + 1
    assert kinds([response async for response in speak(guarded, welcome)])[-1] == "summary"
    calls.pop().cancel()
    await asyncio.sleep(0.2)
    assert kinds([response async for response in speak(guarded, refused)])[-1] == "summary"
    calls.pop().cancel()
    await guarded.idle()
    assert not guarded.server.tenants.turns.held


async def test_no_secret_is_kept_or_shown(token_file: Path) -> None:
    assert "alpha-1" not in repr(read_tokens(token_file)) and "alpha-1" not in repr(vars(Tokens(token_file)))


async def test_a_file_without_tokens_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("empty", "binary", "missing"):
        with pytest.raises(OSError, match=name) as raised:
            Tokens(tmp_path / name)
        assert "\n" not in str(raised.value)


async def test_a_binary_header_is_not_a_token(token_file: Path) -> None:
    with pytest.raises(Unauthenticated):
        Tokens(token_file).token((("authorization", b"Bearer alpha-1"),))
