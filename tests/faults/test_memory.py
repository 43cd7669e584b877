"""A cache too small for its callers: they wait, lose their place and are recomputed, and nobody hears of it."""

import asyncio
from pathlib import Path

import grpc
import pytest

from qwentts_client.v1 import tts_pb2 as pb
from tests.service.conftest import config, failure, pcm, send, serving, text, turn
from tests.service.test_turns import assert_same_audio

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLERS, BLOCKS = 8, 12  # of sixteen positions; each caller comes to need four
WORDS = "She read it aloud, word after word, until the lamp went out."


def asked(seed: int, mode: pb.TextMode = pb.TEXT_MODE_INCREMENTAL) -> pb.SynthesizeRequest:
    made = config(2.4)
    made.config.sampling.seed = seed + 1
    made.config.delivery.text_mode = mode
    made.config.delivery.max_lead.FromSeconds(60)
    return made


async def test_a_small_cache_costs_time_alone(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=CALLERS, kv_blocks=BLOCKS, guard_seconds=0.0) as server:
        modes = [pb.TEXT_MODE_WHOLE if seed % 2 else pb.TEXT_MODE_INCREMENTAL for seed in range(CALLERS)]
        requests = [asked(seed, mode) for seed, mode in enumerate(modes)]
        alone = [pcm(await turn(server, request, text(WORDS))) for request in requests]
        assert server.sample("tts_preemptions_total", reason="kv") == 0
        together = await asyncio.gather(*(turn(server, request, text(WORDS)) for request in requests))
        preempted = server.sample("tts_preemptions_total", reason="kv")
        assert server.sample("tts_requests_total", method="Synthesize", outcome="failed") == 0
        await server.idle()
    for responses, expected in zip(together, alone, strict=True):
        assert_same_audio(pcm(responses), expected)
    assert preempted > 0
    print(f"{CALLERS} turns on {BLOCKS} blocks: {preempted:.0f} times set back and recomputed, the same audio")


async def test_a_prompt_that_fits_no_cache_is_refused_for_good(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=2, kv_blocks=BLOCKS) as server:
        speaking = asyncio.create_task(turn(server, asked(1), text(WORDS)))
        huge = asked(2, pb.TEXT_MODE_WHOLE)
        refused = await failure(server.stub.Synthesize(send([huge, text("Z9 " * 900)]), timeout=20))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
        assert refused.trailers["grpc-retry-pushback-ms"] == "-1"
        assert (await speaking)[-1].HasField("summary")
        await server.idle()
