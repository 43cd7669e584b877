"""TLS and mutual TLS: who gets through, who does not, and what a bad file says."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from qwentts_client.client import AsyncClient
from qwentts_grpc.rpc.tls import ServerTls, TlsFiles, client_credentials
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server

from .certificates import Authority
from .conftest import config
from .test_lifecycle import NOT_SERVING, SERVING, health

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEN_DAYS = datetime.timedelta(days=10)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def listening(tls: TlsFiles | None) -> AsyncIterator[tuple[Server, str]]:
    """A server without a model: enough for a health check."""
    server = Server(ServerConfig("unused", port=0, metrics_port=0, tls=tls))
    port, _ = await server.start()
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.close()


async def reaches(address: str, credentials: grpc.ChannelCredentials | None) -> bool:
    """Whether a health check gets through."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channel = (
        grpc.aio.secure_channel(address, credentials, options)
        if credentials
        else grpc.aio.insecure_channel(address, options)
    )
    async with channel:
        try:
            return await asyncio.wait_for(health(channel), 5) == {NOT_SERVING}
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False


async def test_a_turn_over_mutual_tls(authority: Authority, checkpoint: Path) -> None:
    own, caller = authority.sign("server"), authority.sign("caller")
    tls = TlsFiles(own.cert, own.key, authority.cert)
    server = Server(ServerConfig(str(checkpoint), port=0, metrics_port=0, tls=tls))
    port, _ = await server.start()
    await server.load()
    credentials = client_credentials(authority.cert, caller.cert, caller.key)
    async with AsyncClient(f"127.0.0.1:{port}", credentials=credentials) as client:
        assert await health(client.channel) == {SERVING}
        assert [frame async for frame in client.synthesize("Hello.", config=config().config)][-1].last
    await server.close()


async def test_only_the_right_authority_is_trusted(authority: Authority, tmp_path: Path) -> None:
    own = authority.sign("server")
    async with listening(TlsFiles(own.cert, own.key)) as (_, address):
        assert await reaches(address, client_credentials(authority.cert, None, None))
        assert not await reaches(address, client_credentials(Authority(tmp_path, "other").cert, None, None))
        assert not await reaches(address, client_credentials(None, None, None))
        assert not await reaches(address, None)


async def test_tls_to_a_plaintext_port_fails_cleanly(authority: Authority) -> None:
    async with listening(None) as (_, address):
        assert not await reaches(address, client_credentials(authority.cert, None, None))
        assert await reaches(address, None)


async def test_an_expired_certificate_is_refused_by_either_side(authority: Authority) -> None:
    own, stale = authority.sign("server"), authority.sign("stale", -datetime.timedelta(hours=1))
    async with listening(TlsFiles(stale.cert, stale.key)) as (_, address):
        assert not await reaches(address, client_credentials(authority.cert, None, None))
    async with listening(TlsFiles(own.cert, own.key, authority.cert)) as (_, address):
        assert not await reaches(address, client_credentials(authority.cert, stale.cert, stale.key))


async def test_mutual_tls_asks_for_a_certificate_of_its_own_authority(authority: Authority, tmp_path: Path) -> None:
    own, caller = authority.sign("server"), authority.sign("caller")
    stranger = Authority(tmp_path, "other").sign("stranger")
    async with listening(TlsFiles(own.cert, own.key, authority.cert)) as (_, address):
        assert await reaches(address, client_credentials(authority.cert, caller.cert, caller.key))
        assert not await reaches(address, client_credentials(authority.cert, None, None))
        assert not await reaches(address, client_credentials(authority.cert, stranger.cert, stranger.key))


async def test_a_renewed_certificate_serves_without_a_restart(authority: Authority) -> None:
    own = authority.sign("server", -datetime.timedelta(hours=1))
    trusting = client_credentials(authority.cert, None, None)
    async with listening(TlsFiles(own.cert, own.key)) as (server, address):
        assert not await reaches(address, trusting)
        authority.sign("server", TEN_DAYS)
        server.files.reload()
        assert await reaches(address, trusting)
        own.key.write_text("half a file")
        server.files.reload()
        assert await reaches(address, trusting)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda files: files.key.unlink(), "server.key"),
        (lambda files: files.cert.write_text("nonsense"), "not a certificate"),
        (
            lambda files: files.key.write_bytes(Authority(files.key.parent, "other").sign("x").key.read_bytes()),
            "MISMATCH",
        ),
        (lambda files: files.client_ca.write_text("nonsense"), "authority.pem"),
    ],
    ids=["no key", "no certificate", "another key", "no authority"],
)
async def test_a_bad_file_is_one_line(authority: Authority, spoil: Callable[[TlsFiles], object], word: str) -> None:
    own = authority.sign("server")
    files = TlsFiles(own.cert, own.key, authority.cert)
    spoil(files)
    with pytest.raises(OSError, match=word) as raised:
        ServerTls(files)
    assert "\n" not in str(raised.value)
