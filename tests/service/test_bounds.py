"""What bounds a turn: its deadline, its length, the guard, and the listener's pace."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from engine.scheduler.batch import Runner
from engine.scheduler.segment import CAP_SECONDS, CAP_SECONDS_PER_TOKEN
from qwentts_client.v1 import tts_pb2 as pb
from tests.faults.devices import Steady

from .conftest import Running, config, failure, pcm, send, serving, text, turn
from .fakes import Silent, Stuck
from .test_turns import SENTENCE, check_laws

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with serving(checkpoint, max_speeches=2, guard_seconds=0.8) as running:
        yield running
        await running.idle()


@pytest.mark.timing
async def test_a_deadline_that_leaves_no_time_is_refused_before_any_work(server: Running) -> None:
    steps = server.engine.last_step
    refused = await failure(server.stub.Synthesize(send([config(), text(SENTENCE)]), timeout=0.015))
    assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.engine.last_step == steps
    assert server.sample("tts_requests_total", method="Synthesize", outcome="deadline") == 1


@pytest.mark.parametrize("frames", [1, 7])
async def test_the_longest_audio_is_exact(server: Running, frames: int) -> None:
    summary = check_laws(await turn(server, config(frames * 0.08 + 0.01), text(SENTENCE)))
    assert (summary.finish_reason, summary.codec_frames) == (pb.FINISH_REASON_LENGTH, frames)


async def test_audio_shorter_than_a_frame_is_refused(server: Running) -> None:
    refused = await failure(server.stub.Synthesize(send([config(0.05), text(SENTENCE)])))
    assert refused.fields == ["config.sampling.max_audio"]


async def test_a_speech_that_never_ends_is_cut_at_the_cap_for_its_text(checkpoint: Path) -> None:
    asked = pb.SynthesizeRequest(config=pb.SynthesisConfig(voice="ryan"))  # no `max_audio`
    asked.config.sampling.seed = 1
    asked.config.delivery.max_lead.FromSeconds(3_600)
    async with serving(checkpoint, guard_seconds=0.0) as server:
        with server.runner(lambda runner: Steady(server.eos)):
            summary = check_laws(await turn(server, asked, text("Hi.")))
        assert server.sample("tts_requests_total", method="Synthesize", outcome="cap") == 1
    assert summary.finish_reason == pb.FINISH_REASON_LENGTH
    assert summary.codec_frames == (CAP_SECONDS + CAP_SECONDS_PER_TOKEN * summary.text_tokens) / 0.08


@pytest.mark.parametrize("runaway", [Stuck, lambda runner: Silent(runner, after=5)], ids=["circle", "silence"])
async def test_the_guard_ends_a_runaway_with_status_ok(server: Running, runaway: Callable[[Runner], Runner]) -> None:
    before = server.sample("tts_requests_total", method="Synthesize", outcome="guard")
    with server.runner(runaway):
        responses = await turn(server, config(60.0), text(SENTENCE))
    summary = check_laws(responses)
    assert summary.finish_reason == pb.FINISH_REASON_GUARD
    assert 10 <= summary.codec_frames <= 40
    assert len(pcm(responses)) == summary.codec_frames * 3_840
    assert server.sample("tts_requests_total", method="Synthesize", outcome="guard") - before == 1


async def test_a_turn_far_enough_ahead_says_so_once(server: Running) -> None:
    asked = config(3.0)
    asked.config.delivery.max_lead.FromNanoseconds(400_000_000)
    responses = await turn(server, asked, text(SENTENCE))
    notices = [response.notice.code for response in responses if response.HasField("notice")]
    assert notices.count(pb.NOTICE_CODE_PACED) == 1
    assert check_laws(responses).total_time.ToMilliseconds() > 2_000  # three seconds, less the lead and a frame or two
