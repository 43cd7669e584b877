"""Text of every shape, and sources of text that fail: their own error reaches the caller, once, and the call ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from qwentts_client import AsyncClient, Flush, TextSourceError
from qwentts_client.v1 import tts_pb2 as pb

from .fake import STARTED, Fake, Requests, endless, frame, serving, summary


class Broken(Exception):
    """What a language model's client might raise."""


async def raising() -> AsyncIterator[str]:
    yield "Hello there, "
    await asyncio.sleep(0.02)
    raise Broken("the connection broke")


def raising_in_step() -> Iterator[str]:
    yield "Hello there, "
    raise Broken("the connection broke")


async def raising_at_once() -> AsyncIterator[str]:
    raise Broken("no connection")
    yield ""


async def raising_stop() -> AsyncIterator[str]:
    yield "Hello."
    raise StopIteration


async def cancelled() -> AsyncIterator[str]:
    """A source whose own task was cancelled by somebody else."""
    yield "Hello."
    model = asyncio.create_task(asyncio.sleep(9))
    asyncio.get_running_loop().call_later(0.01, model.cancel)
    await model


class Raises:
    """An iterator that raises `error` after one piece."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._count = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._count += 1
        if self._count > 1:
            raise self._error
        return "Hello."


class RaisesAsync:
    """The same for `async for`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        raise self._error


async def late_none() -> AsyncIterator[Any]:
    for _ in range(50):
        yield "word "
    yield None


async def speak(client: AsyncClient, text: Any) -> int:
    return len([frame async for frame in client.synthesize(text, voice="joe", timeout=10)])


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (raising, Broken),
        (raising_in_step, Broken),
        (raising_at_once, Broken),
        (lambda: Raises(Broken("x")), Broken),
        (lambda: RaisesAsync(Broken("x")), Broken),
        (lambda: RaisesAsync(OSError("x")), OSError),
        (lambda: Raises(GeneratorExit()), TextSourceError),
        (lambda: RaisesAsync(GeneratorExit()), TextSourceError),
        (lambda: Raises(StopAsyncIteration()), RuntimeError),
        (raising_stop, RuntimeError),
        (cancelled, TextSourceError),
        (lambda: RaisesAsync(asyncio.CancelledError()), TextSourceError),
        (lambda: ["Hi ", None], TypeError),
        (lambda: ["Hi ", 5], TypeError),
        (lambda: ["Hi ", b"there"], TypeError),
        (late_none, TypeError),
        (lambda: "Hi \ud83d", ValueError),
        (lambda: ["Hi ", "\udc00"], ValueError),
    ],
)
async def test_a_failing_source_reaches_the_caller(source: Callable[[], Any], error: type[Exception]) -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        turn = client.synthesize(source(), voice="joe", timeout=10)
        with pytest.raises(error) as raised:
            async for _ in turn:
                pass
        assert isinstance(raised.value, Exception) and not turn.summary.finish_reason
        async with asyncio.timeout(20):
            while fake.left < len(fake.turns):
                await asyncio.sleep(0.01)
        with pytest.raises(ExceptionGroup) as group:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(speak(client, source()))
        assert [type(each) for each in group.value.exceptions] == [type(raised.value)]


async def test_a_source_keeps_its_cause() -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        with pytest.raises(TextSourceError) as raised:
            await speak(client, cancelled())
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)


async def text() -> str:
    return "Hello."


@pytest.mark.parametrize(
    "wrong",
    [b"Hello.", bytearray(b"Hi"), 5, None, {"text": "Hi."}, {"Hi."}, raising, text, object(), lambda: "Hi."],
    ids=lambda wrong: type(wrong).__name__,
)
async def test_what_is_no_text_is_refused_before_a_call(wrong: Any) -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        with pytest.raises(TypeError, match="text is a"):
            client.synthesize(wrong)
        assert not fake.turns


async def test_a_coroutine_is_refused_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    async with AsyncClient("127.0.0.1:9") as client:
        with pytest.raises(TypeError, match="await it first"):
            client.synthesize(text())  # type: ignore[arg-type]
    assert not recwarn.list


async def test_pieces_and_flushes_go_out_in_order() -> None:
    async def pieces() -> AsyncIterator[str | Flush | pb.Flush]:
        for piece in ("One. ", Flush("a"), "", "Two", ".", pb.Flush(mark="b"), "Three."):
            yield piece

    async with serving() as fake, AsyncClient(fake.address) as client:
        marks = [
            event.mark
            async for event in client.synthesize(pieces(), voice="joe").events()
            if isinstance(event, pb.FlushDone)
        ]
    assert marks == ["a", "b"]
    sent = [request.text.text or request.flush.mark for request in fake.turns[0][1:]]
    assert sent == ["One. ", "a", "Two", ".", "b", "Three."]


async def ends(fake: Fake, requests: Requests, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
    """The turn ends while its text goes on."""
    yield STARTED
    yield frame()
    yield summary(pb.FINISH_REASON_LENGTH)


@pytest.mark.parametrize("stubborn", [False, True], ids=["waits", "ignores its end"])
async def test_a_source_that_goes_on_after_the_audio_holds_nobody_up(stubborn: bool) -> None:
    closed = asyncio.Event()

    async def hangs() -> AsyncIterator[str]:
        try:
            yield "Hello."
            await asyncio.Event().wait()
        finally:
            closed.set()
            if stubborn:
                await asyncio.sleep(60)

    async with serving(ends) as fake, AsyncClient(fake.address) as client:
        async with asyncio.timeout(20), client.synthesize(hangs(), voice="joe") as turn:
            assert len([frame async for frame in turn]) == 1
        assert turn.summary.finish_reason == pb.FINISH_REASON_LENGTH and not turn.cancelled
        await asyncio.wait_for(closed.wait(), 20)


async def test_a_source_is_read_only_as_fast_as_it_is_taken() -> None:
    read = 0

    async def fast() -> AsyncIterator[str]:
        nonlocal read
        while read < 100_000:
            read += 1
            yield "x" * 1_000

    async def slow(fake: Fake, requests: Requests, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        yield STARTED
        await asyncio.sleep(0.3)
        yield summary()

    async with serving(slow) as fake, AsyncClient(fake.address) as client:
        assert not [frame async for frame in client.synthesize(fast(), voice="joe")]
    assert read < 20_000
