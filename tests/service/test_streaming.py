"""What comes in pieces is what comes at once: any pieces of text, any sizes of chunks, every format."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
import torch

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import under
from engine.checkpoint.weights import load_checkpoint
from engine.model.codec.decoder import CodecDecoder
from engine.scheduler.batch import Batch, Runner, StepOutput
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.wire import formats

from .conftest import Running, config, pcm, serving, text, turn
from .test_turns import assert_same_audio

pytestmark = pytest.mark.asyncio(loop_scope="session")

SENTENCE = "She read it aloud, word after word: naïve, “quoted”, 你好, and 1,024 more. 😀 "
SIZES = [(1, 1), (1, 12), (2, 4), (4, 4), (8, 8), (12, 12)]  # of the first chunk, and the largest
Codes = list[tuple[int, ...]]


class Recording:
    """Keeps the codes of a turn that runs alone."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self.codes = runner, Codes()

    def step(self, batch: Batch) -> StepOutput:
        output = self._runner.step(batch)
        assert output is not None  # on a CPU no runner works ahead
        self.codes += map(tuple, output.codes.tolist())
        return output


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with serving(checkpoint, max_speeches=2) as running:
        yield running
        await running.idle()


async def spoken(server: Running, asked: pb.SynthesizeRequest, *pieces: pb.SynthesizeRequest | float) -> Codes:
    """The codes of a turn."""
    recording: list[Recording] = []

    def record(runner: Runner) -> Runner:
        recording.append(Recording(runner))
        return recording[0]

    with server.runner(record):
        frames = (await turn(server, asked, *pieces))[-1].summary.codec_frames
    return recording[0].codes[:frames]


async def test_pieces_of_text_change_no_code(server: Running) -> None:
    whole, chance = await spoken(server, config(2.4), text(SENTENCE)), random.Random(0)
    splits = [list(SENTENCE), [word + " " for word in SENTENCE.split(" ")][:-1]]
    for _ in range(3):
        cuts = sorted(chance.sample(range(len(SENTENCE)), 7))
        splits.append([SENTENCE[a:b] for a, b in zip([0, *cuts], [*cuts, len(SENTENCE)], strict=True)])
    for pieces in splits:
        assert "".join(pieces) == SENTENCE
        assert await spoken(server, config(2.4), *map(text, pieces)) == whole
    print(f"{len(splits)} splits of {len(SENTENCE)} characters: {len(whole)} frames with the same 16 codes each")


def offline(checkpoint: Path, codes: Codes) -> npt.NDArray[np.int32]:
    """All codes decoded in one call."""
    loaded = load_checkpoint(checkpoint, torch.device("cpu"), torch.float32)
    shape = CodecDecoderConfig.from_json(loaded.codec_json["decoder_config"])
    decoder = CodecDecoder(shape, under(loaded.codec, "decoder"))
    with torch.inference_mode():
        state = decoder.new_state(1, "cpu", torch.float32)
        audio = decoder.forward(torch.tensor(codes)[None], state, torch.zeros(1, dtype=torch.int64))
    return np.asarray((audio[0] * 32_767).round().int().numpy())


async def test_chunks_of_any_size_are_the_decoding_of_all_codes_at_once(server: Running, checkpoint: Path) -> None:
    at_once = offline(checkpoint, await spoken(server, config(2.4), text(SENTENCE)))
    worst, steepest, seams = 0, 0, 0
    for first, most in SIZES:
        asked = config(2.4)
        asked.config.delivery.first_chunk_frames, asked.config.delivery.max_chunk_frames = first, most
        frames = [response.audio for response in await turn(server, asked, text(SENTENCE))]
        heard = np.frombuffer(b"".join(frame.data for frame in frames), "<i2").astype(np.int32)
        ends = np.cumsum([len(frame.data) // 2 for frame in frames if frame.data])[:-1]
        worst = max(worst, int(np.abs(heard - at_once).max()))
        # A click is a jump from the last sample of a chunk to the first of the next that is not in the signal.
        jumps = np.abs((heard[ends] - heard[ends - 1]) - (at_once[ends] - at_once[ends - 1]))
        steepest, seams = max(steepest, int(jumps.max(initial=0))), seams + len(ends)
    assert worst <= 1 and steepest <= 2 and seams > 45
    print(f"{seams} seams: samples differ by {worst} of 16 bits at most, jumps by {steepest}; clicks 0")


async def test_every_format_on_offer_comes_whole(server: Running) -> None:
    """The bytes are those of an encoder that gets the same samples; tests/audio decodes such bytes."""
    offered = (await server.stub.GetServerInfo(pb.GetServerInfoRequest())).audio_formats
    asked = config(0.32)
    asked.config.delivery.first_chunk_frames = asked.config.delivery.max_chunk_frames = 1
    plain = np.frombuffer(pcm(await turn(server, asked, text(SENTENCE))), "<i2")
    for wanted in offered:
        asked.config.audio_format.CopyFrom(wanted)
        responses = await turn(server, asked, text(SENTENCE))
        encoder = formats.encoder(wanted, 24_000)
        chunks = np.split(plain, 4)  # an Ogg page ends with a chunk
        parts = [*(part for chunk in chunks[:-1] for part in encoder.encode(chunk)), *encoder.finish(chunks[-1])]
        assert pcm(responses) == b"".join(part.data for part in parts)
        assert responses[0].started.audio_format == wanted
        assert responses[-1].summary.audio_samples == round(0.32 * wanted.sample_rate_hertz)
    assert len({wanted.encoding for wanted in offered}) == 7
    assert {wanted.sample_rate_hertz for wanted in offered} == {8_000, 16_000, 22_050, 24_000, 44_100, 48_000}
    print(f"{len(offered)} formats")


@pytest.mark.timing
async def test_gaps_in_the_text_change_no_sample_and_hold_nobody_up(checkpoint: Path) -> None:
    """As a language model writes: it pauses inside words and between sentences, and others want the slot."""
    pieces = ("It was la", "te, and the rain had not sto", "pped", ". So we read on, al", "oud.")
    others_turn = asyncio.Event()

    async def with_pauses() -> AsyncIterator[pb.SynthesizeRequest]:
        yield config(2.4)
        for number, piece in enumerate(pieces):
            yield text(piece)
            await asyncio.sleep(0.2 * number)
            if number == 1:
                await others_turn.wait()

    async with serving(checkpoint, max_speeches=1, max_queue=4) as narrow:
        quiet = pcm(await turn(narrow, config(2.4), text("".join(pieces))))
        call = narrow.stub.Synthesize(with_pauses(), timeout=60)
        slow = asyncio.create_task(collect(call))
        await asyncio.sleep(0.5)
        other = await turn(narrow, config(0.4, voice="vivian"), text("In between."))
        assert not slow.done()
        others_turn.set()
        responses = await slow
        assert narrow.sample("tts_preemptions_total", reason="priority") == 1
        assert narrow.sample("tts_text_starved_seconds_total") > 2
        await narrow.idle()
    notices = [response.notice.code for response in responses if response.HasField("notice")]
    assert notices.count(pb.NOTICE_CODE_TEXT_STARVED) == 1
    assert_same_audio(pcm(responses), quiet)
    print(f"another turn had the slot {other[0].started.queue_wait.ToMilliseconds()} ms after it came")


async def collect(call: AsyncIterator[pb.SynthesizeResponse]) -> list[pb.SynthesizeResponse]:
    return [response async for response in call]


@pytest.mark.timing
async def test_a_parked_turn_speaks_on_as_soon_as_its_text_comes(server: Running) -> None:
    call = server.stub.Synthesize(timeout=20)
    await call.write(config(60.0))
    await call.write(text("Hello there, my "))
    heard: asyncio.Queue[float] = asyncio.Queue()
    listening = asyncio.create_task(listen(call, heard))
    waits = []
    for word in ("good ", "old ", "friend ", "from ", "the ", "hills ", "beyond "):
        await asyncio.sleep(0.3)
        while not heard.empty():
            heard.get_nowait()
        before = time.monotonic()
        await call.write(text(word))
        waits.append(await asyncio.wait_for(heard.get(), 5) - before)
    call.cancel()
    await asyncio.wait((listening,), timeout=5)
    print(f"audio {1_000 * float(np.median(waits)):.0f} ms after the text (median of {len(waits)})")
    assert min(waits) < 0.3


async def listen(call: Any, heard: asyncio.Queue[float]) -> None:
    """When each audio comes, until the call is over."""
    with suppress(asyncio.CancelledError):
        while (response := await call.read()) is not grpc.aio.EOF:
            if response.HasField("audio"):
                heard.put_nowait(time.monotonic())
