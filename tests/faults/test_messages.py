"""Bad input inside well-formed HTTP/2: nothing but clean refusals, and no turn beside it notices."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.telemetry.metrics import OUTCOMES
from tests.service.conftest import Running, config, decoded, failure, flush, send, text

from .conftest import steady
from .witness import witness

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

SYNTHESIZE, WHOLE = "/qwentts.v1.TTSService/Synthesize", "/qwentts.v1.TTSService/SynthesizeText"
MUTANTS = 1_000
LONGEST = 2_000  # characters of a text
# What a caller may be told of input that makes no sense; whatever makes sense by chance is spoken, or waits for text.
SANE = {"OK", "INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED", "DEADLINE_EXCEEDED"}
LOST = "lost by the client"  # what grpcio's asyncio client makes of a status that meets one of its writes
BAD_TEXT = b"\x12\x04\x0a\x02\xff\xfe"  # SynthesizeRequest.text.text that is not UTF-8


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    limits = {"max_speeches": 32, "max_queue": 64, "max_text_characters": LONGEST}
    async with steady(checkpoint, step_seconds=0.002, **limits) as running:
        yield running
        await running.idle()


def rich() -> list[bytes]:
    """Messages of a turn with most fields set."""
    asked = config(0.4, request_id="turn", language="english", instructions="Calmly.")
    asked.config.sampling.MergeFrom(pb.SamplingOptions(temperature=0.9, top_k=50, top_p=0.9, repetition_penalty=1.1))
    asked.config.delivery.input_idle_timeout.FromMilliseconds(200)
    asked.config.delivery.max_lead.FromMilliseconds(1_000)
    messages = [asked, text("Hello "), flush("a"), text("you.")]
    return [message.SerializeToString() for message in messages]


def mutants(count: int) -> Iterator[list[bytes]]:
    """Turns with bits flipped, bytes cut out, doubled, put in, messages in another order, and pure noise."""
    for seed in range(count):
        chance = random.Random(seed)
        messages = rich()
        at = chance.randrange(len(messages))
        messages[at] = mutated(messages[at], chance)
        if chance.random() < 0.1:
            chance.shuffle(messages)
        yield messages


def mutated(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + chance.randint(1, 3))
    match chance.randrange(5):
        case 0:
            return data[:start] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[start:end]) + data[end:]
        case 1:
            return data[:start] + data[end:]
        case 2:
            return data[:end] + data[start:]
        case 3:
            return data[:start] + chance.randbytes(chance.randint(1, 16)) + data[start:]
        case _:
            return chance.randbytes(chance.randint(0, 200))


async def status(server: Running, method: str, messages: list[bytes]) -> str:
    """What raw messages end in."""
    raw: Any = server.channel.stream_stream(method)
    call = raw(iter(messages), timeout=5)
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return LOST if error.details() == "Internal error from Core" else error.code().name
    return "OK"


async def test_mutants_are_refused_or_spoken(server: Running) -> None:
    failed = server.sample("tts_requests_total", method="Synthesize", outcome="failed")
    async with witness(server) as heard:
        turns, ends = list(mutants(MUTANTS)), Counter[str]()
        for start in range(0, MUTANTS, 25):
            ends.update(await asyncio.gather(*(status(server, SYNTHESIZE, turn) for turn in turns[start : start + 25])))
    assert set(ends) <= {*SANE, LOST} and len(ends) >= 3 and ends[LOST] < MUTANTS / 50, ends
    await server.idle()
    assert server.sample("tts_requests_total", method="Synthesize", outcome="failed") == failed
    print(f"{MUTANTS} mutants: {dict(ends)}; gap p99 beside them {heard.worst:.0f} ms")


async def test_noise_as_a_single_message_is_the_callers_mistake(server: Running) -> None:
    counted, refused = calls(server, "SynthesizeText"), server.sample("tts_requests_rejected_total", reason="invalid")
    ends = Counter([await status(server, WHOLE, [random.Random(seed).randbytes(seed % 64 + 1)]) for seed in range(100)])
    assert set(ends) <= SANE and ends["INVALID_ARGUMENT"] > 50
    assert calls(server, "SynthesizeText") - counted == 100
    assert server.sample("tts_requests_rejected_total", reason="invalid") - refused == 100 - ends["OK"]


async def test_every_call_has_one_outcome_whatever_its_messages_are(server: Running) -> None:
    counted = calls(server, "Synthesize")
    ends = await asyncio.gather(*(status(server, SYNTHESIZE, turn) for turn in mutants(50)))
    await status(server, SYNTHESIZE, [bytes(12 * 2**20)])
    await server.idle()
    await asyncio.sleep(0.1)
    assert calls(server, "Synthesize") - counted == len(ends) + 1


def calls(server: Running, method: str) -> float:
    """How many calls have ended so far, in whatever way; by outcome and by status they are as many."""
    name = {"grpc_service": "qwentts.v1.TTSService", "grpc_method": method}
    statuses = [server.sample("grpc_server_handled_total", grpc_code=code.name, **name) for code in grpc.StatusCode]
    ended = sum(server.sample("tts_requests_total", method=method, outcome=outcome) for outcome in OUTCOMES)
    assert ended == sum(statuses)
    return ended


@pytest.mark.parametrize("before", [[], [config().SerializeToString()]], ids=["first", "later"])
@pytest.mark.parametrize("bad", [b"\xff\xff\xff", BAD_TEXT, b"\x0a"], ids=["noise", "not utf-8", "cut"])
async def test_what_cannot_be_parsed_is_said_to_be(server: Running, before: list[bytes], bad: bytes) -> None:
    raw: Any = server.channel.stream_stream(SYNTHESIZE)
    refused = await failure(raw(iter([*before, bad]), timeout=5))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refused.fields == ["message"]


FLOATS = [
    field.name for field in pb.SamplingOptions.DESCRIPTOR.fields if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE)
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 3e38], ids=str)
@pytest.mark.parametrize("name", FLOATS)
async def test_no_float_is_taken_as_it_comes(server: Running, name: str, value: float) -> None:
    asked = config()
    setattr(asked.config.sampling, name, value)
    refused = await failure(server.stub.Synthesize(send([asked, text("Hi.")]), timeout=5))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [f"config.sampling.{name}"])


async def test_a_message_too_long_is_refused_before_it_is_read(server: Running) -> None:
    async with witness(server):
        ends = await asyncio.gather(*(status(server, SYNTHESIZE, [bytes(12 * 2**20)]) for _ in range(8)))
    assert set(ends) == {"RESOURCE_EXHAUSTED"}


async def test_a_hundred_thousand_tiny_pieces_end_at_the_limit(server: Running) -> None:
    sent = 0

    async def flood() -> AsyncIterator[pb.SynthesizeRequest]:
        nonlocal sent
        yield config(60.0)
        while sent < 100_000:
            sent += 1
            yield text("a")

    async with witness(server) as heard:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in server.stub.Synthesize(flood(), timeout=60):
                pass
    # grpcio's asyncio client may say INTERNAL where the status meets one of its many writes.
    assert raised.value.code() is grpc.StatusCode.INTERNAL or decoded(raised.value).reason == "TEXT_TOO_LONG"
    assert LONGEST < sent < 100_000
    await server.idle()
    print(f"refused after {sent} pieces were handed to the client; gap p99 beside them {heard.worst:.0f} ms")


async def test_metadata_too_large_is_refused(server: Running) -> None:
    call = server.stub.Synthesize(send([config(), text("Hi.")]), metadata=(("x-long", "x" * 20_000),), timeout=5)
    assert (await failure(call)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
