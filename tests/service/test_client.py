"""The light client: text of any shape in, frames out, and nothing left behind when its user walks away."""

import asyncio
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from qwentts_client.client import AsyncClient, write_wav
from qwentts_client.v1 import tts_pb2 as pb

from .conftest import Running, config

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHORT = config().config
WORDS = ["Hello ", "there, ", "world."]


@pytest_asyncio.fixture(loop_scope="session")
async def client(tts: Running) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(tts.address) as client:
        yield client


async def slowly(words: list[str]) -> AsyncIterator[str]:
    for word in words:
        yield word


def lazily(words: list[str]) -> Iterator[str]:
    yield from words


async def test_text_may_be_a_string_pieces_or_a_stream(client: AsyncClient) -> None:
    for text in ("".join(WORDS), WORDS, lazily(WORDS), slowly(WORDS)):
        turn = client.synthesize(text, config=SHORT)
        frames = [frame async for frame in turn]
        assert sum(len(frame.data) for frame in frames) == 38_400
        assert turn.started.voice == "ryan"
        assert (turn.summary.text_characters, turn.summary.seed) == (len("".join(WORDS)), 1)


async def test_a_long_piece_is_cut_to_what_the_server_takes(client: AsyncClient) -> None:
    turn = client.synthesize("語" * 1_999, config=SHORT)
    assert [frame async for frame in turn]
    assert turn.summary.text_characters == 1_999


async def test_a_file_is_written_as_frames_come(client: AsyncClient, tmp_path: Path) -> None:
    seconds = await write_wav(tmp_path / "out.wav", client.synthesize("Hello.", config=SHORT))
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.getnframes() == 19_200 == seconds * 24_000


async def test_arguments_reach_the_server(client: AsyncClient) -> None:
    turn = client.synthesize("Hi.", voice="vivian", language="english", seed=5, config=_limit())
    assert [frame async for frame in turn]
    assert (turn.started.voice, turn.summary.seed) == ("vivian", 5)


def _limit() -> pb.SynthesisConfig:
    limited = pb.SynthesisConfig()
    limited.sampling.max_audio.FromMilliseconds(400)
    return limited


async def test_walking_away_from_the_frames_ends_the_turn(tts: Running, client: AsyncClient) -> None:
    turn = client.synthesize("I could go on.", voice="ryan")
    frames = aiter(turn)
    await anext(frames)
    assert tts.server.state.speeches == 1
    turn.cancel()
    await tts.idle(1.0)


async def test_a_refusal_is_grpcs_own_error(client: AsyncClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in client.synthesize("Hi.", voice="nobody"):
            pass
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_voices_and_facts(client: AsyncClient) -> None:
    assert "ryan" in [voice.name for voice in await client.voices()]
    assert not await client.voices("klingon")
    assert (await client.server_info()).native_sample_rate_hertz == 24_000


async def test_the_client_and_its_commands_load_no_engine() -> None:
    code = (
        "import sys; import qwentts_client.client, qwentts_grpc.cli.flags; "
        "heavy = {'torch', 'engine.engine', 'prometheus_client', 'soxr', 'google.rpc'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


async def test_a_turn_whose_summary_came_is_whole_while_text_still_goes_out(client: AsyncClient) -> None:
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "word "
            await asyncio.sleep(0.002)

    for _ in range(20):
        turn = client.synthesize(endless(), config=config(0.16).config)
        assert [frame async for frame in turn][-1].last
        assert turn.summary.finish_reason == pb.FINISH_REASON_LENGTH
