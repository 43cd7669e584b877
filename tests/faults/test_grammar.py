"""The laws of a turn hold for whatever a caller says, in whatever order and pace: a state machine over the grammar."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.prompt.token_stream import speakable
from qwentts_client.v1 import tts_pb2 as pb
from tests.service.conftest import Running, cancel, config, decoded, flush, text

from .conftest import steady

FRAMES = 5  # of a segment, at least
TURNS, STEPS = 80, 12
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "\n", "Hello ", "wor", "ld.", "你好。", "<|im_end|>", "e\u0301", "🎉"]),
)


class Loop:
    """An event loop on a thread of its own, and a server on it."""

    def __init__(self, checkpoint: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        made = steady(checkpoint, step_seconds=0.001, ends_after=FRAMES, max_speeches=4)
        self.server: Running = self.run(self._stack.enter_async_context(made))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Wait for `work`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture(scope="module")
def loop(checkpoint: Path) -> Iterator[Loop]:
    made = Loop(checkpoint)
    yield made
    made.close()


class Turn(RuleBasedStateMachine):
    """One turn, from its config to its end."""

    loop: Loop

    @initialize(whole=st.booleans())
    def begin(self, whole: bool) -> None:
        asked = config(60.0)
        asked.config.delivery.text_mode = pb.TEXT_MODE_WHOLE if whole else pb.TEXT_MODE_INCREMENTAL
        self.said, self.cancelled = "", False
        self.marks: list[str] = []
        self.responses: list[pb.SynthesizeResponse] = []
        self.call, self.reading = self.loop.run(self._open(asked))

    async def _open(self, asked: pb.SynthesizeRequest) -> tuple[Any, asyncio.Task[None]]:
        call = self.loop.server.stub.Synthesize(timeout=20)
        await call.write(asked)
        return call, asyncio.create_task(self._read(call))

    async def _read(self, call: Any) -> None:
        with suppress(grpc.aio.AioRpcError):  # looked at in the end
            while (response := await call.read()) is not grpc.aio.EOF:
                self.responses.append(response)

    def _write(self, request: pb.SynthesizeRequest) -> None:
        self.loop.run(self.call.write(request))

    @precondition(lambda self: not self.cancelled)
    @rule(words=WORDS)
    def speak(self, words: str) -> None:
        self._write(text(words))
        self.said += words

    @precondition(lambda self: not self.cancelled)
    @rule(mark=st.sampled_from("abc"))
    def flush(self, mark: str) -> None:
        self._write(flush(mark))
        self.marks.append(mark)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 0.03]))
    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    @precondition(lambda self: not self.cancelled and len(self.said) > 5)
    @rule()
    def cancel(self) -> None:
        self._write(cancel())
        self.cancelled = True

    @invariant()
    def frames_are_numbered_without_holes(self) -> None:
        frames = [response.audio for response in getattr(self, "responses", []) if response.HasField("audio")]
        assert [frame.sequence for frame in frames] == list(range(len(frames)))

    def teardown(self) -> None:
        if not hasattr(self, "call"):
            return
        code, refused = self.loop.run(self._end())
        if code is grpc.StatusCode.OK:
            self._check()
        else:
            assert not speakable(self.said) and not self.cancelled
            assert (code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TEXT_EMPTY")
        self.loop.run(self.loop.server.idle())

    async def _end(self) -> tuple[grpc.StatusCode, Any]:
        if not self.cancelled:
            await self.call.done_writing()
        await asyncio.wait_for(self.reading, 20)
        code = await self.call.code()
        error = grpc.aio.AioRpcError(code, await self.call.initial_metadata(), await self.call.trailing_metadata())
        return code, decoded(error)

    def _check(self) -> None:
        kinds = [response.WhichOneof("payload") for response in self.responses]
        assert kinds[0] == "started" and kinds.count("started") == 1
        assert kinds[-1] == "summary" and kinds.count("summary") == 1
        frames = [response.audio for response in self.responses if response.HasField("audio")]
        self._check_clock(frames)
        self._check_marks()
        summary = self.responses[-1].summary
        assert (summary.audio_frames, summary.audio_samples) == (
            len(frames),
            sum(len(frame.data) for frame in frames) // 2,
        )
        if self.cancelled:
            assert summary.finish_reason in (pb.FINISH_REASON_CANCELLED, pb.FINISH_REASON_STOP)
        else:
            assert summary.finish_reason == pb.FINISH_REASON_STOP
            assert summary.text_characters == len(self.said)
            assert summary.codec_frames >= FRAMES

    def _check_clock(self, frames: list[pb.AudioFrame]) -> None:
        now = 0
        for frame in frames:
            assert frame.pts.ToNanoseconds() == now
            now += frame.duration.ToNanoseconds()
        assert [frame.last for frame in frames] == [False] * (len(frames) - 1) + [True]
        assert [frame.segment for frame in frames] == sorted(frame.segment for frame in frames)
        assert self.responses[-1].summary.audio_duration.ToNanoseconds() == now

    def _check_marks(self) -> None:
        done = [response.flush_done for response in self.responses if response.HasField("flush_done")]
        answered = [mark.mark for mark in done]
        assert answered == (self.marks[: len(answered)] if self.cancelled else self.marks)
        assert [mark.pts.ToNanoseconds() for mark in done] == sorted(mark.pts.ToNanoseconds() for mark in done)


def test_the_laws_of_a_turn(loop: Loop) -> None:
    Turn.loop = loop
    run_state_machine_as_test(
        Turn,
        settings=settings(
            max_examples=TURNS,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
