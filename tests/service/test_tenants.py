"""Tenants: who a caller is, and that none of them can take the server from another."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.admission.auth import Token, identified, read_tokens
from qwentts_grpc.admission.fair_semaphore import FairSemaphore
from qwentts_grpc.admission.tenants import Access, Shares
from qwentts_grpc.recordings import recordings
from qwentts_grpc.rpc.tls import TlsFiles, client_credentials
from qwentts_grpc.telemetry.tenant_metrics import TenantMetrics
from qwentts_grpc.wire.caller import Caller, from_certificate, named
from qwentts_grpc.wire.errors import TenantLimit

from .certificates import Authority
from .conftest import Running, config, failure, kinds, send, serving, text
from .test_access import bearer, speak
from .test_created_voices import upload
from .test_kinds import clone, recording

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

TOKENS = "acme-1 acme\nglobex-1 globex\ninitech-1 initech\nboss-1 ops admin\nbare-1\nbare-2\n"
ACME, GLOBEX, BARE = bearer("acme-1"), bearer("globex-1"), bearer("bare-1")


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tenants") / "tokens"
    path.write_text(TOKENS)
    path.chmod(0o600)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(base_checkpoint: Path, tokens: Path) -> AsyncIterator[Running]:
    async with serving(base_checkpoint, config={"access": Access(tokens)}, max_speeches=3, max_queue=7) as running:
        yield running
        await running.idle()


# ---- who a caller is


class Context:
    """As much of a call's context as says who calls."""

    def __init__(self, metadata: dict[str, str], **identity: bytes) -> None:
        self._metadata, self._identity = metadata, identity

    def invocation_metadata(self) -> Any:
        return tuple(self._metadata.items())

    def auth_context(self) -> Any:
        return {name: [value] for name, value in self._identity.items()}

    def peer(self) -> str:
        return "ipv4:192.0.2.1:7"


NAMED, NAMELESS = Token(b"\1" * 32, "acme"), Token(b"\2" * 32, "")
DIGEST = "sha256:" + "02" * 32
KEY, CERTIFICATE = {"x-tenant": "other"}, {"x509_common_name": b"client", "x509_pem_cert": b"---"}


@pytest.mark.parametrize(
    ("trusted", "token", "metadata", "identity", "tenant"),
    [
        (False, None, {}, {}, ""),
        (False, None, KEY, {}, "other"),
        (False, None, {}, CERTIFICATE, "client"),
        (False, None, KEY, CERTIFICATE, "client"),
        (False, NAMED, KEY, CERTIFICATE, "acme"),
        (False, NAMELESS, KEY, CERTIFICATE, DIGEST),
        (False, NAMELESS, {}, {}, DIGEST),
        (True, NAMED, KEY, CERTIFICATE, "acme"),
        (True, NAMELESS, KEY, CERTIFICATE, "other"),
        (True, NAMELESS, {"x-tenant": ""}, {}, DIGEST),
        (True, NAMELESS, {"x-other": "other"}, {}, DIGEST),
        (True, None, KEY, CERTIFICATE, "other"),
        (True, None, {}, CERTIFICATE, "client"),
    ],
)
async def test_whose_word_on_the_tenant_counts(
    trusted: bool, token: Token | None, metadata: dict[str, str], identity: dict[str, bytes], tenant: str
) -> None:
    access = Access(tenant_key="x-tenant", trust_tenant_key=trusted)
    made: Any = Context(metadata, **identity)
    assert identified(access, token, made) == Caller(tenant, "ipv4:192.0.2.1:7")


async def test_without_a_key_no_metadata_names_a_tenant() -> None:
    made: Any = Context({"": "x", "x-tenant": "acme"})
    assert identified(Access(trust_tenant_key=True), None, made).tenant == ""


@pytest.mark.parametrize(
    ("identity", "tenant"),
    [
        ({"x509_common_name": b"acme"}, "acme"),
        ({"x509_common_name": b"", "x509_subject_alternative_name": b"spiffe://mesh/tts"}, "spiffe://mesh/tts"),
        ({"x509_subject_alternative_name": b"a.example"}, "a.example"),
        ({"x509_common_name": b"acme", "x509_subject_alternative_name": b"b.example"}, "acme"),
        ({"x509_pem_cert": b"x"}, "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ({"transport_security_type": b"ssl"}, ""),
    ],
)
async def test_which_field_of_a_certificate_names_the_tenant(identity: dict[str, bytes], tenant: str) -> None:
    assert from_certificate({name: [value] for name, value in identity.items()}) == tenant


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "é", "a" * 129, " a", "a ", "sha256:" + "0" * 64, "\0", "a\tb"])
async def test_what_is_no_name_becomes_a_digest(name: str) -> None:
    tenant = named(name.encode())
    assert tenant.startswith("sha256:") and len(tenant) == 71 and tenant != name
    assert Caller(tenant).name == tenant[:19]


@pytest.mark.parametrize("line", ["t acme boss", "t acme admin more", "t a\x01b", f"t {'a' * 129}", "t sha256:00"])
async def test_a_line_that_means_nothing_is_refused_without_its_secret(tmp_path: Path, line: str) -> None:
    (tmp_path / "tokens").write_text(f"good\n{line.replace('t ', 'secret ', 1)}\n")
    with pytest.raises(OSError, match="tokens") as raised:
        read_tokens(tmp_path / "tokens")
    assert "secret" not in str(raised.value)


async def test_only_the_marked_token_is_an_admins(tokens: Path) -> None:
    assert [token.tenant for token in read_tokens(tokens) if token.admin] == ["ops"]


async def test_a_token_without_a_tenant_cannot_choose_one(base_checkpoint: Path, tokens: Path) -> None:
    access = Access(tokens, tenant_key="x-tenant", tenant_limit=2)
    async with serving(base_checkpoint, config={"access": access}) as running:
        held = [await opened(running, bearer("bare-1", **{"x-tenant": name})) for name in ("acme", "t1")]
        refused = await failure(speak(running, bearer("bare-1", **{"x-tenant": "t2"})))
        assert refused.reason == "TENANT_LIMIT"
        assert set(running.server.tenants.turns.held) == {f"sha256:{read_tokens(tokens)[4].digest.hex()}"}
        held += [await opened(running, ACME) for _ in range(2)]
        for call in held:
            call.cancel()


async def test_a_gateway_that_is_trusted_names_tenants(base_checkpoint: Path, tokens: Path) -> None:
    access = Access(tokens, tenant_key="x-tenant", trust_tenant_key=True, tenant_limit=1)
    async with serving(base_checkpoint, config={"access": access}) as running:
        held = [await opened(running, bearer("bare-1", **{"x-tenant": name})) for name in ("acme", "t1")]
        assert (await failure(speak(running, ACME))).reason == "TENANT_LIMIT"
        assert set(running.server.tenants.turns.held) == {"acme", "t1"}
        for call in held:
            call.cancel()


async def test_a_clients_certificate_names_its_tenant(base_checkpoint: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.sign("server")
    access = Access(tenant_key="x-tenant", tenant_limit=1)
    settings = {"tls": TlsFiles(own.cert, own.key, authority.cert), "access": access}
    async with serving(base_checkpoint, config=settings) as running:
        channels = {}
        for name in ("acme", "globex"):
            client = authority.sign(name)
            credentials = client_credentials(authority.cert, client.cert, client.key)
            options = (("grpc.use_local_subchannel_pool", 1),)
            channels[name] = grpc.aio.secure_channel(running.address, credentials, options)
        acme, globex = (Running(running.server, running.port, 0, channel) for channel in channels.values())
        call = await opened(acme, ())
        assert (await failure(speak(acme, (("x-tenant", "other"),)))).reason == "TENANT_LIMIT"
        assert set(running.server.tenants.turns.held) == {"acme"}
        other = await opened(globex, (("x-tenant", "acme"),))
        assert set(running.server.tenants.turns.held) == {"acme", "globex"}
        call.cancel(), other.cancel()
        for channel in channels.values():
            await channel.close()


async def opened(running: Running, metadata: Any) -> Any:
    """A turn that says nothing yet."""
    before = running.server.tenants.turns.held.total()
    call = running.stub.Synthesize(metadata=metadata, timeout=60)
    await eventually(lambda: running.server.tenants.turns.held.total() > before)
    return call


async def speaks(running: Running, metadata: Any) -> bool:
    """Whether a turn goes through."""
    request = clone(recording(), speaker_embedding_only=True)
    responses = [response async for response in speak(running, metadata, request, text("Hi."))]
    return kinds(responses)[-1] == "summary"


async def eventually(holds: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


# ---- what a tenant may hold


async def test_a_share_leaves_something_to_the_next() -> None:
    shares = Shares(80, "turns")
    taken = [greedy(shares, Caller(f"tenant {number}")) for number in range(4)]
    assert taken == [64, 13, 3, 0]
    shares.give(Caller("tenant 0"), taken[0])
    assert shares.free == taken[0] and "tenant 0" not in shares.held


async def test_known_tenants_are_never_left_without_any(known: int = 12) -> None:
    names = [f"tenant {number}" for number in range(known)]
    shares = Shares(80, "turns", lambda: frozenset(names))
    taken = [greedy(shares, Caller(name)) for name in names]
    assert min(taken) >= 1 and taken[0] > 50, taken


async def test_more_tenants_than_places_leave_each_other_most(known: int = 1_000) -> None:
    shares = Shares(80, "turns", lambda: frozenset(map(str, range(known))))
    assert greedy(shares, Caller("0")) == 48


async def test_callers_without_a_tenant_have_no_share() -> None:
    shares = Shares(10, "turns")
    for _ in range(20):
        shares.take(Caller())
    assert shares.free == -10


async def test_a_limit_takes_the_place_of_the_share_for_everybody() -> None:
    for caller in (Caller(), Caller("acme")):
        assert greedy(Shares(10, "turns", limit=10), caller) == 10


def greedy(shares: Shares, caller: Caller) -> int:
    """How much the caller can take, one by one."""
    before = shares.held[caller.tenant]
    with pytest.raises(TenantLimit):
        while True:
            shares.take(caller)
    return shares.held[caller.tenant] - before


async def test_tenants_take_turns_however_many_wait() -> None:
    semaphore, order, go = FairSemaphore(1), [], asyncio.Event()

    async def work(tenant: str) -> None:
        async with semaphore.hold(tenant):
            await go.wait()
            order.append(tenant)

    tasks = [asyncio.create_task(work(tenant)) for tenant in "aaaaabbc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert "".join(order) == "abcabaa"
    async with asyncio.timeout(1), semaphore.hold("d"):
        pass


async def test_a_place_that_comes_as_its_waiter_leaves_is_not_lost() -> None:
    semaphore = FairSemaphore(1)

    async def wait() -> None:
        async with semaphore.hold("b"):
            pass

    async with semaphore.hold("a"):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
    waiting.cancel()  # after it was let in, before it has run
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), semaphore.hold("c"):
        pass


async def test_series_are_for_few_tenants_however_many_come() -> None:
    registry = CollectorRegistry()
    metrics = TenantMetrics(registry)
    metrics.start_at_zero({"acme", "sha256:" + "0" * 64})
    for number in range(1_000):
        metrics.turns(Caller(f"tenant {number}"), 1)
        metrics.limited(Caller(f"tenant {number}"))
    metrics.sent(Caller(), 1.0)
    page = generate_latest(registry).decode()
    assert page.count("tts_tenant_turns_open{") == 65 and len(page) < 20_000
    assert registry.get_sample_value("tts_tenant_turns_open", {"tenant": "(others)"}) == 1_000 - 62
    assert 'tts_tenant_audio_seconds_total{tenant="sha256:000000000000"} 0.0' in page


async def test_turns_are_counted_for_their_tenant(guarded: Running) -> None:
    def sample(name: str) -> float:
        return guarded.sample(f"tts_tenant_{name}", tenant="initech")

    before = sample("audio_seconds_total")
    assert await speaks(guarded, bearer("initech-1"))
    assert sample("audio_seconds_total") > before
    calls = [await opened(guarded, bearer("initech-1")) for _ in range(3)]
    assert sample("turns_open") == 3
    for call in calls:
        call.cancel()
    await eventually(lambda: sample("turns_open") == 0)


# ---- idle calls of one tenant


async def test_idle_turns_of_one_tenant_leave_places_to_another(guarded: Running) -> None:
    idle = [guarded.stub.Synthesize(metadata=ACME, timeout=60) for _ in range(40)]
    idle += [guarded.voices.CreateVoice(metadata=ACME, timeout=60) for _ in range(40)]
    await asyncio.sleep(0.5)
    assert 0 < guarded.server.tenants.turns.held["acme"] <= 8
    refused = await failure(speak(guarded, ACME))
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TENANT_LIMIT")
    assert await speaks(guarded, GLOBEX)
    for call in idle:
        call.cancel()
    await eventually(lambda: not guarded.server.tenants.turns.held)


UNARY = [
    f"/{service.full_name}/{method.name}"
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.client_streaming
]


async def test_idle_calls_of_any_kind_on_many_connections_leave_some_to_another(guarded: Running) -> None:
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(guarded.address, options) for _ in range(6)]
    calls = guarded.server.tenants.calls
    total = calls.free
    each = total // len(channels) // len(UNARY) + 1
    streams: list[Any] = [channel.stream_stream(method) for channel in channels for method in UNARY * each]
    idle = [stream(metadata=ACME, timeout=60) for stream in streams]  # no message follows
    await eventually(lambda: calls.held["acme"] >= 0.7 * total)
    await asyncio.sleep(0.3)
    assert calls.held["acme"] <= 0.8 * total
    late: Any = channels[0].stream_stream("/qwentts.v1.TTSService/GetServerInfo")
    refused = await failure(late(metadata=ACME, timeout=10))
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TENANT_LIMIT")
    async with asyncio.timeout(10):
        assert (await guarded.stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=GLOBEX)).models
        assert await speaks(guarded, GLOBEX)
    for call in idle:
        call.cancel()
    await eventually(lambda: not calls.held)
    for channel in channels:
        await channel.close()


async def test_turns_without_text_for_ever_leave_places_to_another(guarded: Running) -> None:
    endless = clone(recording(), speaker_embedding_only=True)
    endless.config.delivery.input_idle_timeout.FromSeconds(0)
    idle = [guarded.stub.Synthesize(send([endless, 60.0]), metadata=ACME, timeout=60) for _ in range(12)]
    await eventually(lambda: guarded.server.state.speeches >= 6)
    assert await speaks(guarded, GLOBEX)
    for call in idle:
        call.cancel()
    await eventually(lambda: not guarded.server.tenants.turns.held)


async def test_idle_uploads_hold_no_place_of_those_that_have_come(guarded: Running) -> None:
    idle = [guarded.voices.CreateVoice(metadata=metadata, timeout=60) for metadata in (ACME, BARE) for _ in range(8)]
    await eventually(lambda: len(guarded.server.tenants.turns.held) == 2)
    async with asyncio.timeout(10):
        await guarded.voices.CreateVoice(upload("quick"), metadata=GLOBEX)
        await guarded.voices.DeleteVoice(pb.DeleteVoiceRequest(name="quick"), metadata=GLOBEX)
    for call in idle:
        call.cancel()
    await eventually(lambda: not guarded.server.tenants.turns.held)


async def test_unfinished_uploads_of_one_tenant_leave_memory_to_another(
    base_checkpoint: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MEMORY", 200_000)
    async with serving(base_checkpoint, config={"access": Access(tokens)}) as running:
        spec, piece = next(upload("big")), pb.CreateVoiceRequest(audio=bytes(20_000))
        calls = []
        for _ in range(12):
            calls.append(running.voices.CreateVoice(metadata=ACME, timeout=60))
            for message in (spec, piece):
                await calls[-1].write(message)
        await asyncio.sleep(0.3)
        ended = [call for call in calls if call.done()]
        assert 2 <= len(ended) <= 10
        assert {(await failure(call)).reason for call in ended} == {"TENANT_LIMIT"}
        await running.voices.CreateVoice(upload("small", recording(1.0, 8_000, 1)), metadata=GLOBEX, timeout=20)
        for call in calls:
            call.cancel()
        await eventually(lambda: not running.server.tenants.turns.held)
        await running.voices.CreateVoice(upload("small", recording(1.0, 8_000, 1)), metadata=ACME, timeout=20)


async def test_creating_a_voice_is_a_turn(base_checkpoint: Path, tokens: Path) -> None:
    async with serving(base_checkpoint, config={"access": Access(tokens, tenant_limit=1)}) as running:
        call = await opened(running, ACME)
        refused = await failure(running.voices.CreateVoice(upload("anna"), metadata=ACME))
        assert refused.reason == "TENANT_LIMIT" and refused.retry_milliseconds
        await running.voices.CreateVoice(upload("anna"), metadata=GLOBEX)
        call.cancel()


async def test_one_of_several_models_cannot_be_filled_by_one_tenant(
    base_checkpoint: Path, checkpoint: Path, tokens: Path
) -> None:
    access = {"access": Access(tokens)}
    async with serving(checkpoint, more=[base_checkpoint], config=access, max_speeches=1, max_queue=7) as running:
        asked = config(model="tiny-custom")
        hoard = [running.stub.Synthesize(send([asked, text("I go on "), 60.0]), metadata=GLOBEX) for _ in range(8)]
        reads = [asyncio.ensure_future(call.read()) for call in hoard]
        until = asyncio.get_running_loop().time() + 20
        while not any(read.done() for read in reads):  # the one too many is refused; the others are queued or speak
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.05)
        spoken = running.stub.Synthesize(send([config(0.4), text("Hello.")]), metadata=ACME, timeout=60)
        assert kinds([response async for response in spoken])[-1] == "summary"
        for call in hoard:
            call.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        await running.idle()
