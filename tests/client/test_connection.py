"""How a client reaches servers: restarts, several addresses, proxies, TLS, event loops, and what errors say."""

import asyncio
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from qwentts_client import AsyncClient, Client, TTSError, client_credentials
from qwentts_client.channels import LARGEST_MESSAGE, LARGEST_REFERENCE
from qwentts_client.errors import Code, decoded
from qwentts_client.status import FinalStatus
from qwentts_client.targets import is_loopback, target
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.wire.limits import RecordingLimits
from tests.service.certificates import Authority

from .background import Background
from .fake import STARTED, Fake, Requests, endless, frame, refusing, serving, speak, start

DEAD = "http://user:secret@127.0.0.1:9"


async def count(client: AsyncClient, text: Any = "Hello.", **options: Any) -> int:
    return len([frame async for frame in client.synthesize(text, voice="joe", **options)])


async def test_an_error_can_be_read() -> None:
    async with (
        serving(refusing(9, Code.NOT_FOUND, "VOICE_NOT_FOUND", 1.5)) as fake,
        AsyncClient(fake.address) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await count(client)
    error = raised.value
    assert isinstance(error, TTSError)
    assert (error.code(), error.reason, error.request_id) == (Code.NOT_FOUND, "VOICE_NOT_FOUND", "r9")
    assert (error.retry_after, error.fields, error.http_status, error.answered) == (1.5, ["voice"], 404, True)
    assert str(error) == "NOT_FOUND: refused: VOICE_NOT_FOUND (reason VOICE_NOT_FOUND, request r9)"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code(), copy.reason, copy.details()) == (error.code(), error.reason, error.details())


async def words() -> AsyncIterator[str]:
    for word in ("Hello ", "there, ", "world."):
        await asyncio.sleep(0.05)
        yield word


async def test_a_server_that_starts_is_waited_for_and_gets_the_text_once() -> None:
    async with serving(refusing(6, Code.UNAVAILABLE, "STARTING", 0.05)) as fake, AsyncClient(fake.address) as client:
        assert await count(client, words()) == 3
    assert fake.texts[-1] == "Hello there, world." and len(fake.turns) == 7


async def test_a_turn_outlasts_a_restart() -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        assert await count(client) == 1
        port = int(fake.address.rpartition(":")[2])
        await fake.server.stop(None)
        turns = [asyncio.create_task(count(client, words())) for _ in range(5)]
        infos = asyncio.create_task(client.server_info())
        await asyncio.sleep(1.0)
        assert not any(turn.done() for turn in turns)
        await start(fake, port)
        assert await asyncio.wait_for(asyncio.gather(*turns), 30) == [3] * 5
        assert (await infos).server_version == fake.address
    assert fake.texts[-5:] == ["Hello there, world."] * 5


async def test_a_turn_that_was_cut_before_it_started_is_tried_again() -> None:
    async def script(fake: Fake, requests: Requests, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        if len(fake.turns) == 2:  # with its text taken, the connection breaks
            await anext(requests), await anext(requests)
            await context.abort(Code.UNAVAILABLE, "Socket closed")
        async for response in speak(fake, requests, context):
            yield response

    async with serving(script) as fake, AsyncClient(fake.address) as client:
        assert [await count(client), await count(client, words())] == [1, 3]
    assert fake.texts[-1] == "Hello there, world."


async def test_what_has_started_is_not_tried_again() -> None:
    async def script(fake: Fake, requests: Requests, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        yield STARTED
        yield frame()
        await context.abort(Code.UNAVAILABLE, "gone")

    async with serving(script) as fake, AsyncClient(fake.address) as client:
        with pytest.raises(TTSError):
            await count(client)
    assert len(fake.turns) == 1


async def test_what_will_not_help_is_not_tried_again() -> None:
    async with (
        serving(refusing(9, Code.INVALID_ARGUMENT, "FIELD_INVALID")) as fake,
        AsyncClient(fake.address) as client,
    ):
        with pytest.raises(TTSError):
            await count(client)
    assert len(fake.turns) == 1


@pytest.mark.parametrize(("retry_for", "timeout"), [(0.0, None), (0.5, None), (60.0, 0.5)])
async def test_patience_has_an_end(retry_for: float, timeout: float | None) -> None:
    script = refusing(10**6, Code.UNAVAILABLE, "STARTING", 0.05)
    async with serving(script) as fake, AsyncClient(fake.address, retry_for=retry_for) as client:
        began = time.monotonic()
        with pytest.raises(TTSError, match=r"STARTING|DEADLINE"):
            await count(client, timeout=timeout)
        assert time.monotonic() - began < 20


async def test_leaving_a_turn_that_waits_for_a_restart() -> None:
    async with (
        serving(refusing(10**6, Code.UNAVAILABLE, "STARTING", 0.05)) as fake,
        AsyncClient(fake.address) as client,
    ):
        turn = client.synthesize("Hello.", voice="joe")
        reader = asyncio.create_task(anext(aiter(turn), None))
        await asyncio.sleep(0.3)
        turn.cancel()
        assert await asyncio.wait_for(reader, 20) is None
        stopped = client.synthesize("Hello.", voice="joe")
        assert (await stopped.stop()).finish_reason == pb.FINISH_REASON_CANCELLED


async def test_a_server_that_was_never_there_is_said_at_once() -> None:
    async with AsyncClient("127.0.0.1:9") as client:
        began = time.monotonic()
        for call in (count(client), client.voices(), client.health()):
            with pytest.raises(TTSError, match=r"^UNAVAILABLE: no server answers at 127.0.0.1:9: .*refused"):
                await call
        assert time.monotonic() - began < 20


async def test_wait_ready() -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        fake.health = 2
        assert await client.health() == "NOT_SERVING"
        with pytest.raises(TimeoutError, match=r"loads or drains|DEADLINE"):
            await client.wait_ready(0.3)
        asyncio.get_running_loop().call_later(0.3, setattr, fake, "health", 1)
        await client.wait_ready(30)
    async with AsyncClient("127.0.0.1:9") as client:
        with pytest.raises(TimeoutError, match="no server answers"):
            await client.wait_ready(0.3)


async def test_turns_go_to_each_server_in_turn() -> None:
    async with serving() as one, serving() as two:
        for servers in (f"{one.address},{two.address}", [one.address, two.address]):
            async with AsyncClient(servers) as client:
                await client.wait_ready(30)
                await asyncio.sleep(0.2)
                before = len(one.turns)
                assert await asyncio.gather(*(count(client) for _ in range(20))) == [1] * 20
                assert 8 <= len(one.turns) - before <= 12
        await two.server.stop(None)
        async with AsyncClient([one.address, two.address.replace("127.0.0.1", "localhost")]) as client:
            assert [await count(client) for _ in range(5)] == [1] * 5


async def test_channel_options_and_one_setting_for_keepalive() -> None:
    options = (("grpc.max_receive_message_length", 10),)
    async with serving() as fake, AsyncClient(fake.address, options=options, keepalive=5) as client:
        with pytest.raises(TTSError, match="larger than max"):
            await count(client)
    with pytest.raises(ValueError, match="keepalive of 1 s"):
        AsyncClient(keepalive=1)


async def test_loopback_never_goes_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(variable, DEAD)
    async with serving() as fake:
        port = fake.address.rpartition(":")[2]
        for name in ("127.0.0.1", "localhost", "127.1.2.3", "dns:///localhost", "ipv4:127.0.0.1"):
            async with AsyncClient(f"{name}:{port}") as client:
                if name != "127.1.2.3":
                    assert await count(client) == 1


async def test_an_error_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    async with AsyncClient("tts.example:50051") as client:
        with pytest.raises(TTSError, match=r"by the proxy http://127.0.0.1:9 \(http_proxy\)") as raised:
            await client.voices()
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("tts.localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("example", False),
    ],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("server", "none", "proxied"),
    [
        ("tts.example", "", True),
        ("tts.example", "example", False),
        ("tts.example", ".other, tts.example", False),
        ("tts.example", "*", False),
        ("10.1.2.3:5", "10.0.0.0/8", False),
        ("10.1.2.3:5", "192.168.0.0/16", True),
        ("unix:/run/tts", "", False),
        ("dns:///tts.example:5", "", True),
        ("[2001:db8::1]:5", "2001:db8::/32", False),
    ],
)
def test_which_servers_a_proxy_leads_to(monkeypatch: pytest.MonkeyPatch, server: str, none: str, proxied: bool) -> None:
    monkeypatch.setenv("https_proxy", "proxy:3128")
    monkeypatch.setenv("no_proxy", none)
    assert target(server).proxy == ("http://proxy:3128" if proxied else "")


@pytest.mark.parametrize("server", ["", "http://tts:1", "tts:x", "tts:0", "tts:70000", "a b:1", "a:1,", ":1", []])
def test_what_is_no_address_is_refused(server: Any) -> None:
    with pytest.raises(ValueError, match="is no address"):
        AsyncClient(server)


def test_the_port_has_a_default() -> None:
    assert [target(name).uri for name in ("tts", "::1", "[::1]:5")] == ["tts:50051", "[::1]:50051", "[::1]:5"]


async def test_which_of_both_speaks_tls(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    own = authority.sign("server")
    pair = [(own.key.read_bytes(), own.cert.read_bytes())]
    secure, mutual = (
        grpc.ssl_server_credentials(pair),
        grpc.ssl_server_credentials(pair, authority.cert.read_bytes(), True),
    )
    trusting, doubting = (client_credentials(each.cert, None, None) for each in (authority, other))
    async with serving() as plain, serving(credentials=secure) as tls, serving(credentials=mutual) as strict:
        async with AsyncClient(tls.address, credentials=trusting) as client:
            assert await count(client) == 1
        for server, credentials, said in (
            (plain.address, trusting, "speaks plaintext, and this client TLS"),
            (plain.address.replace("127.0.0.1", "localhost"), trusting, "speaks plaintext, and this client TLS"),
            (tls.address.replace("127.0.0.1", "localhost"), None, "speaks TLS, and this client plaintext"),
            (tls.address, None, "speaks TLS, and this client plaintext"),
            (tls.address, doubting, "certificate that this client does not trust"),
            (tls.address.replace("127.0.0.1", "localhost"), trusting, "is for another name|do not trust each other"),
            (strict.address, trusting, "or no client certificate"),
        ):
            async with AsyncClient(server, credentials=credentials) as client:
                with pytest.raises(TTSError, match=said):
                    await count(client)


class Ended:
    """A call of grpcio with the statuses that it comes to have, one after the other."""

    def __init__(self, *statuses: tuple[Code, str]) -> None:
        self._statuses, self._status = statuses, statuses[0]

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        for status in self._statuses:
            self._status = status
            callback(self)

    async def code(self) -> Code:
        return self._status[0]

    async def details(self) -> str:
        return self._status[1]

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    trailing_metadata = initial_metadata


WRITE = (Code.INTERNAL, "Internal error from Core")
TRUE = (Code.NOT_FOUND, "no such voice")


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([WRITE], Code.UNAVAILABLE),
        ([WRITE, TRUE], Code.NOT_FOUND),
        ([TRUE, WRITE], Code.NOT_FOUND),
        ([(Code.INTERNAL, "Received RST_STREAM with error code 2")], Code.UNAVAILABLE),
        ([(Code.UNKNOWN, "Stream removed")], Code.UNAVAILABLE),
        ([(Code.INTERNAL, "internal error; the server's log has it")], Code.INTERNAL),
    ],
)
async def test_a_write_that_fails_hides_no_status(statuses: list[tuple[Code, str]], code: Code) -> None:
    empty, (raised, details) = grpc.aio.Metadata(), statuses[-1]
    error = grpc.aio.AioRpcError(raised, empty, empty, details)
    assert (await decoded(error, FinalStatus(Ended(*statuses)), target("tts:1"))).code() is code


async def test_a_killed_server_is_unavailable() -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:

        async def flood() -> AsyncIterator[str]:
            while True:
                yield "word " * 100

        async def codes() -> str:
            with pytest.raises(TTSError) as raised:
                await count(client, flood())
            return str(raised.value.code().name)

        turns = [asyncio.create_task(codes()) for _ in range(10)]
        while len(fake.turns) < 10:
            await asyncio.sleep(0.01)
        await fake.server.stop(None)
        assert set(await asyncio.gather(*turns)) <= {"UNAVAILABLE", "CANCELLED"}


def test_one_client_in_many_loops() -> None:
    def in_a_loop(address: str) -> None:
        assert asyncio.run(several(client)) == [1] * 5

    async def several(client: AsyncClient) -> list[int]:
        return [await count(client) for _ in range(5)]

    with Background() as fake:
        client = AsyncClient(fake.address)
        for _ in range(3):
            in_a_loop(fake.address)
        threads = [threading.Thread(target=in_a_loop, args=(fake.address,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(fake.turns) == 35
        with pytest.raises(RuntimeError, match=r"no event loop is running.*synchronous Client"):
            client.synthesize("Hello.")
        asyncio.run(client.aclose())
        with pytest.raises(RuntimeError, match="the client is closed"):
            asyncio.run(several(client))


def test_the_sizes_of_both_sides_agree() -> None:
    assert LARGEST_REFERENCE == RecordingLimits().bytes < LARGEST_MESSAGE - 4 * (60_000 + 60_000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference": b""}, "is empty"),
        ({"reference": b"", "transcript": "Hi."}, "is empty"),
        ({"reference": bytes(LARGEST_REFERENCE + 1)}, "cut it"),
        ({"reference": b"x", "voice": "joe"}, "either a voice or a reference"),
        ({"transcript": "Hi."}, "there is none"),
        ({"encoding": "mp3"}, "is not one of pcm_s16le"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": "1"}, "seed is of type str"),
        ({"sample_rate": 8e3}, "sample_rate is of type float"),
        ({"voice": 3}, "voice is of type int"),
        ({"reference": "me.wav"}, "read the file first"),
        ({"config": {"voice": "joe"}}, "config is of type dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_options_that_cannot_be_are_refused_before_a_call(options: dict[str, Any], said: str) -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        with pytest.raises((ValueError, TypeError), match=said):
            client.synthesize("Hi.", **options)
        with pytest.raises(TypeError, match="unexpected keyword"):
            client.synthesize("Hi.", voise="joe")  # type: ignore[call-arg]
        assert not fake.turns


async def test_a_reference_of_ten_mebibytes_goes_out() -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        assert await client.synthesize("Hi.", reference=bytes(LARGEST_REFERENCE)).stop()
        assert await count(client) == 1


def test_the_synchronous_client() -> None:
    def blocking() -> Any:
        for word in ("Hello ", "there."):
            time.sleep(0.05)
            yield word

    with Background() as fake, Client(fake.address) as client:
        client.wait_ready(5)
        assert (client.health(), [voice.name for voice in client.voices()]) == ("SERVING", ["joe"])
        assert client.server_info().server_version == fake.address
        turn = client.synthesize(blocking(), voice="joe")
        assert [len(frame.data) for frame in turn] == [3_840, 3_840]
        assert (turn.started.seed, turn.summary.finish_reason) == (7, pb.FINISH_REASON_STOP)
        written = client.open_turn(voice="joe")
        written.write("One. ")
        written.flush("a")
        written.end()
        kinds = [type(event) for event in written.events()]
        assert kinds == [pb.Started, pb.AudioFrame, pb.FlushDone, pb.Summary]
        with client.open_turn(voice="joe") as open_turn:
            open_turn.write("One.")
            assert next(iter(open_turn)).data
            assert open_turn.stop().finish_reason == pb.FINISH_REASON_CANCELLED

        def broken() -> Any:
            yield "Hello."
            raise OSError("the file is gone")

        with pytest.raises(OSError, match="the file is gone"):
            list(client.synthesize(broken(), voice="joe"))
        with pytest.raises(TypeError):
            client.synthesize(5)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.voices()
