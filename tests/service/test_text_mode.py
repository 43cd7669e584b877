"""Where the text of a turn goes: as asked, or unasked by the kind of checkpoint and by what has come."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.service import request_reader

from .conftest import Requests, Running, config, flush, pcm, serving, text, turn
from .fakes import Ending, Slow
from .test_kinds import recording
from .test_turns import assert_same_audio, check_laws

pytestmark = pytest.mark.asyncio(loop_scope="session")

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps."
UNASKED, INCREMENTAL, WHOLE = pb.TEXT_MODE_UNSPECIFIED, pb.TEXT_MODE_INCREMENTAL, pb.TEXT_MODE_WHOLE


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    """Waits longer for what comes in one go, as messages take longer on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_reader, "PAUSE", 0.05)
        patch.setattr(request_reader, "LONGEST_HOLD", 1.0)
        async with serving(checkpoint, max_speeches=2, guard_seconds=0.0) as running:
            yield running
            await running.idle()


async def at_once(server: Running, mode: pb.TextMode, **fields: Any) -> list[Any]:
    """A turn by `SynthesizeText`."""
    request = pb.SynthesizeTextRequest(config=config(text_mode=mode, **fields).config, text=SENTENCE)
    return [response async for response in server.stub.SynthesizeText(request, timeout=20)]


@pytest.mark.parametrize(("mode", "taken"), [(UNASKED, WHOLE), (INCREMENTAL, INCREMENTAL), (WHOLE, WHOLE)])
async def test_a_text_in_one_message(server: Running, mode: pb.TextMode, taken: pb.TextMode) -> None:
    responses = await at_once(server, mode)
    assert responses[0].started.text_mode == taken
    assert_same_audio(pcm(responses), pcm(await at_once(server, taken)))


async def test_both_layouts_differ(server: Running) -> None:
    assert pcm(await at_once(server, WHOLE)) != pcm(await at_once(server, INCREMENTAL))


@pytest.mark.parametrize(
    "pieces",
    [
        [text(SENTENCE)],
        [text(SENTENCE), flush("a")],
        [text("\n"), text(SENTENCE)],
        [text(SENTENCE), 0.0, flush("a"), 0.2],
        [*map(text, (SENTENCE[:10], SENTENCE[10:20], SENTENCE[20:]))],
        [0.2, text(SENTENCE), flush("a")],
        [text(" "), 0.2, *map(text, (SENTENCE[:10], SENTENCE[10:])), flush("a"), 0.2],
    ],
    ids=["end", "flush", "blank before", "flush, end later", "pieces", "late", "late pieces"],
)
async def test_text_that_comes_in_one_go_is_whole(server: Running, pieces: Requests) -> None:
    """Also where `Started` had to be sent before."""
    responses = await turn(server, config(text_mode=UNASKED), *pieces)
    check_laws(responses)
    spoken = "".join(piece.text.text for piece in pieces if isinstance(piece, pb.SynthesizeRequest))
    same = await turn(server, config(text_mode=WHOLE), text(spoken))
    assert_same_audio(pcm(responses), pcm(same))
    late = isinstance(pieces[0], float) or 0.2 in pieces[:2]
    assert responses[0].started.text_mode == (INCREMENTAL if late else WHOLE)


async def test_text_that_is_awaited_goes_in_as_it_comes(server: Running) -> None:
    responses = await turn(server, config(text_mode=UNASKED), text(SENTENCE[:30]), 0.3, text(SENTENCE[30:]))
    assert responses[0].started.text_mode == INCREMENTAL
    assert_same_audio(pcm(responses), pcm(await turn(server, config(text_mode=INCREMENTAL), text(SENTENCE))))


async def test_a_seed_repeats_the_speech_of_a_layout_however_text_comes_and_whoever_speaks(server: Running) -> None:
    halves = text(SENTENCE[:30]), 0.1, text(SENTENCE[30:])
    few = pb.SamplingOptions(
        seed=5, top_k=4, predictor_top_k=4
    )  # few borders between tokens, on which rounding decides
    for mode in (INCREMENTAL, WHOLE):
        alone = pcm(await at_once(server, mode, sampling=few))
        company = (turn(server, config(text_mode=mode, sampling=few), *halves) for _ in range(4))
        for responses in await asyncio.gather(*company):
            assert_same_audio(pcm(responses), alone)


async def test_text_that_ends_while_the_turn_waits_for_its_place_is_whole(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=1, guard_seconds=0.0) as narrow:
        with narrow.runner(lambda runner: Slow(runner, 0.02)):
            first = asyncio.create_task(turn(narrow, config(2.0), text(SENTENCE)))
            await asyncio.sleep(0.1)
            halves = text(SENTENCE[:30]), 0.1, text(SENTENCE[30:])
            responses = await turn(narrow, config(text_mode=UNASKED), *halves)
            await first
        assert responses[0].started.queue_wait.ToMilliseconds() > 100
        assert responses[0].started.text_mode == WHOLE
        assert_same_audio(pcm(responses), pcm(await turn(narrow, config(text_mode=WHOLE), text(SENTENCE))))
        await narrow.idle()


async def test_later_segments_are_whole_where_they_have_come(server: Running) -> None:
    """The first is awaited; the second has come by the end of the first, and sounds as it does after any first."""
    with server.runner(lambda runner: Ending(runner, server.eos, after=5)):
        first = text(SENTENCE[:30]), 0.2, text(SENTENCE[30:]), flush("a")
        mixed = await turn(server, config(4.0, UNASKED), *first, text(SENTENCE))
        whole = await turn(server, config(4.0, WHOLE), *first, text(SENTENCE))
        incremental = await turn(server, config(4.0, INCREMENTAL), *first, text(SENTENCE))
    half = 5 * 3_840
    assert_same_audio(pcm(mixed)[:half], pcm(incremental)[:half])
    assert_same_audio(pcm(mixed)[half:], pcm(whole)[half:])


async def test_a_clone_goes_in_as_it_is_spoken(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "0.6B-Base", seed=3)
    reference = pb.ReferenceVoice(audio=recording(), speaker_embedding_only=True)
    async with serving(base, guard_seconds=0.0) as server:
        for mode, taken in ((UNASKED, INCREMENTAL), (WHOLE, WHOLE)):
            responses = await at_once(server, mode, voice="", reference=reference)
            assert responses[0].started.text_mode == taken
        await server.idle()
