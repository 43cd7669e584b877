"""Audio that nobody takes: bounded for each speech and for all, whatever lead is asked for."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from engine.scheduler.outboxes import CODES_BYTES, LEAST, Outboxes
from engine.speeches.speech import Speech
from tests.engine.drive import FLAVOURS, Flavour
from tests.engine.speaking import listen, until
from tests.engine.test_loop import Rig, endless, no_housekeeping, request, rig
from tests.engine.tiny import FRAME_SAMPLES

FRAME_BYTES = 2 * FRAME_SAMPLES + CODES_BYTES

__all__ = ["endless", "no_housekeeping"]  # fixtures

both = pytest.mark.parametrize("flavour", FLAVOURS)
IN_FLIGHT = 2  # steps, so frames of a speech

pytestmark = pytest.mark.usefixtures("endless", "no_housekeeping")


def test_each_may_have_what_is_free() -> None:
    boxes = Outboxes(per_speech=1_000, total=3_000)
    assert boxes.most == 1_000
    boxes.put(2_500)
    assert boxes.most == 500
    boxes.put(1_000)
    assert boxes.most == LEAST
    boxes.put(-3_500)
    assert (boxes.held, boxes.most) == (0, 1_000)


async def opened(made: Rig, stack: AsyncExitStack) -> Speech:
    speech = await stack.enter_async_context(made.engine.open(request(frames=300)))
    speech.feed("Hello world, how is the light? " * 10)
    speech.end()
    return speech


async def settled(made: Rig) -> int:
    """Frames made, once no more come."""
    frames = -1
    while frames != made.notes.used:
        frames = made.notes.used
        await asyncio.sleep(0.1)
    return frames


@both
async def test_a_speech_that_nobody_reads_stops_whatever_its_lead(flavour: Flavour) -> None:
    async with rig(flavour, max_unread_seconds=8.0) as made, AsyncExitStack() as stack:
        speech = await opened(made, stack)
        assert 100 - 12 <= await settled(made) <= 100 + IN_FLIGHT
        assert made.engine._outboxes.held <= 100
        heard = await listen(speech)  # and goes on as it is read
        assert heard.end.frames == 300
        assert made.engine._outboxes.held == 0


@both
async def test_speeches_that_nobody_reads_share_the_room_and_leave_some(flavour: Flavour) -> None:
    async with (
        rig(flavour, max_speeches=4, max_unread_bytes=600 * FRAME_BYTES) as made,
        AsyncExitStack() as readers,
        AsyncExitStack() as stack,
    ):
        for _ in range(3):
            await opened(made, stack)
        unread = await settled(made)
        assert 300 <= unread <= 600
        async with asyncio.timeout(20):
            heard = await listen(await opened(made, readers))
        assert heard.end.frames == 300
        await stack.aclose()  # what was left unread is free again
        assert made.engine._outboxes.held == 0


@both
async def test_room_that_comes_free_is_used_at_once(flavour: Flavour) -> None:
    async with rig(flavour, max_unread_bytes=300 * FRAME_BYTES) as made, AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        await opened(made, first)
        await opened(made, stack)
        frames = await settled(made)
        await first.aclose()
        await until(lambda: made.notes.used > frames)
