"""Attacks with a token of a tenant of its own: each goes on until it is cut off; some know what they must not get."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import grpc
from hyperframe.frame import WindowUpdateFrame

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc
from tests.faults.http2 import connected, message

from .strangers import opening
from .target import EVIL, HOSTILE, KEPT, NAMELESS, Target, bearer, seconds_of

Code = grpc.StatusCode
LONG = "Word after word after word, and no end of it. " * 1_300  # 60,000 characters
CONSENT = "form 7"


def asked(voice: str = "ryan", **fields: Any) -> pb.SynthesizeRequest:
    """A turn's first message."""
    return pb.SynthesizeRequest(config=pb.SynthesisConfig(voice=voice, **fields))


async def idle_turns(target: Target) -> None:
    """Turns that never say a word, of patience without end, and uploads that never come."""

    async def silence(*first: Any) -> AsyncIterator[Any]:
        for request in first:
            yield request
        await asyncio.sleep(3_600)

    patient = asked()
    seconds_of(patient.config.delivery.input_idle_timeout, 0)
    spec = pb.CreateVoiceRequest(spec=pb.VoiceSpec(name="idle", transcript="Words.", consent_reference=CONSENT))
    async with target.channel() as channel, target.channel() as another:
        tts = tts_pb2_grpc.TTSServiceStub(channel)
        voices = tts_pb2_grpc.VoiceServiceStub(another)
        await forever(
            50,
            lambda: consumed(tts.Synthesize(silence(), metadata=bearer(HOSTILE))),
            lambda: consumed(tts.Synthesize(silence(patient), metadata=bearer(HOSTILE))),
            lambda: voices.CreateVoice(silence(), metadata=bearer(HOSTILE)),
            lambda: voices.CreateVoice(silence(spec), metadata=bearer(NAMELESS)),
        )


async def hoards(target: Target) -> None:
    """As many turns of the longest text as there may be, each with the longest audio."""

    def turn() -> Any:
        request = pb.SynthesizeTextRequest(config=asked().config, text=LONG)
        return consumed(tts.SynthesizeText(request, metadata=bearer(HOSTILE)))

    async with target.channel() as channel:
        tts = tts_pb2_grpc.TTSServiceStub(channel)
        await forever(100, turn)


async def slow_readers(target: Target) -> None:
    """Turns that may run a day ahead of their readers, who take a message every few seconds."""
    request = pb.SynthesizeTextRequest(config=asked().config, text=LONG)
    seconds_of(request.config.delivery.max_lead, 86_400)

    async def one() -> None:
        while True:
            with suppress(OSError):
                async with connected(target.port, window=20_000) as connection:
                    path = "/qwentts.v1.TTSService/SynthesizeText"
                    connection.send(opening(1, path, token=HOSTILE), message(request.SerializeToString(), 1))
                    while not connection.closed.is_set() and 1 not in connection.ended():
                        await asyncio.sleep(3.5)
                        more = (WindowUpdateFrame(stream, window_increment=8_000).serialize() for stream in (0, 1))
                        connection.send(*more)
            await asyncio.sleep(0.5)

    await asyncio.gather(*(one() for _ in range(20)))


async def recordings(target: Target) -> None:
    """Small files that decode to much, to voices and to turns, at checkpoints that clone and at one that does not."""
    bombs = [path.read_bytes() for path in Path(target.folder, "bombs").iterdir()]
    numbers = count()

    def upload() -> Iterator[pb.CreateVoiceRequest]:
        spec = pb.VoiceSpec(name=f"bomb{next(numbers)}", transcript="Words.", consent_reference=CONSENT)
        yield pb.CreateVoiceRequest(spec=spec)
        yield pb.CreateVoiceRequest(audio=random.choice(bombs))

    def turn() -> Any:
        reference = pb.ReferenceVoice(
            audio=random.choice(bombs), speaker_embedding_only=True, consent_reference=CONSENT
        )
        config = pb.SynthesisConfig(reference=reference, model=random.choice(("custom", "base")))
        return consumed(tts.SynthesizeText(pb.SynthesizeTextRequest(config=config, text="Hi."), metadata=caller()))

    def caller() -> tuple[tuple[str, str], ...]:
        return bearer(random.choice((HOSTILE, NAMELESS)))

    async with target.channel() as channel:
        tts, voices = tts_pb2_grpc.TTSServiceStub(channel), tts_pb2_grpc.VoiceServiceStub(channel)
        await forever(12, turn, lambda: voices.CreateVoice(upload(), metadata=caller()))


async def others_voices(target: Target) -> None:
    """Another tenant's voice: listed, read, spoken with, replaced, deleted, under its own name and by a forged one."""

    async def one(voices: Any, tts: Any, who: tuple[tuple[str, str], ...]) -> None:
        listed = await voices.ListVoices(pb.ListVoicesRequest(), metadata=who)
        assert KEPT not in {voice.name for voice in listed.voices}, "another tenant's voice was listed"
        spoken = tts.SynthesizeText(pb.SynthesizeTextRequest(config=asked(KEPT).config, text="Hi."), metadata=who)
        for call in (
            voices.GetVoice(pb.GetVoiceRequest(name=KEPT), metadata=who),
            voices.DeleteVoice(pb.DeleteVoiceRequest(name=KEPT), metadata=who),
            consumed(spoken),
        ):
            await fails(call, Code.NOT_FOUND)

    async with target.channel() as channel:
        tts, voices = tts_pb2_grpc.TTSServiceStub(channel), tts_pb2_grpc.VoiceServiceStub(channel)
        while True:
            for token in (HOSTILE, NAMELESS):
                for forged in ({}, {"x-tenant": "acme"}, {"x-tenant": EVIL}):
                    await one(voices, tts, bearer(token, **forged))
            await asyncio.sleep(0.05)


async def many_tenants(target: Target) -> None:
    """A token without a tenant that names another one with each call, and so would have a share for each."""
    numbers = count()

    def turn() -> Any:
        request = pb.SynthesizeTextRequest(config=asked().config, text=LONG)
        who = bearer(NAMELESS, **{"x-tenant": random.choice(("acme", f"t{next(numbers)}"))})
        return consumed(tts.SynthesizeText(request, metadata=who))

    async with target.channel() as channel:
        tts = tts_pb2_grpc.TTSServiceStub(channel)
        await forever(100, turn)


async def without_consent(target: Target) -> None:
    """Recordings without a consent, in turns and uploads."""
    audio = Path(target.folder, "tone.wav").read_bytes()

    def upload(consent: str) -> Iterator[pb.CreateVoiceRequest]:
        yield pb.CreateVoiceRequest(spec=pb.VoiceSpec(name="taken", transcript="Words.", consent_reference=consent))
        yield pb.CreateVoiceRequest(audio=audio)

    async with target.channel() as channel:
        tts, voices = tts_pb2_grpc.TTSServiceStub(channel), tts_pb2_grpc.VoiceServiceStub(channel)
        while True:
            for consent in ("", " ", "\t\n"):
                reference = pb.ReferenceVoice(audio=audio, speaker_embedding_only=True, consent_reference=consent)
                config = pb.SynthesisConfig(reference=reference, model="base")
                request = pb.SynthesizeTextRequest(config=config, text="Hi.")
                await refused(consumed(tts.SynthesizeText(request, metadata=bearer(HOSTILE))))
                await refused(voices.CreateVoice(upload(consent), metadata=bearer(HOSTILE)))
            await asyncio.sleep(0.05)


async def consumed(call: Any) -> None:
    """Read a stream to its end."""
    async for _ in call:
        pass


async def fails(call: Awaitable[Any], code: Code) -> None:
    """Raise AssertionError where a call ends otherwise; what the server has no room for may be refused too."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        assert error.code() in (code, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE), f"{error.code()}: {error.details()}"
    else:
        raise AssertionError(f"a call went well that should have been {code}")


async def refused(call: Awaitable[Any]) -> None:
    """Raise AssertionError where a recording is taken without a consent."""
    await fails(call, Code.INVALID_ARGUMENT)


async def forever(workers: int, *calls: Any) -> None:
    """Keep `workers` calls of each kind open.

    Whatever they end in, the next follows soon.
    """

    async def one(call: Any) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await call()
            await asyncio.sleep(0.1)

    await asyncio.gather(*(one(call) for call in calls for _ in range(workers)))
