"""`make bench`: frames per second of the engine beside qwen-tts.

Both run one tiny checkpoint, turn by turn in one run, with its own sampling settings; the end of speech never wins,
so that every speech has the same length.
"""

import argparse
import asyncio
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from engine.api.config import EngineConfig
from engine.api.events import AudioChunk
from engine.api.request import Delivery, Sampling, SpeechRequest, TextMode
from engine.build import build_engine
from engine.checkpoint.dummy import write_checkpoint
from engine.engine import Engine
from tests.parity.reference import load_reference

KIND, VOICE = "0.6B-CustomVoice", "ryan"
TEXT = "Hello world, how is the light of this morning?"
COUNTS = (1, 4, 16)


def main() -> None:
    """Measure, then print a table."""
    parser = argparse.ArgumentParser(description="Frames per second on this CPU, beside qwen-tts.")
    parser.add_argument("--frames", type=int, default=60, help="of each speech (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=4, help="the best counts (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch: more only wait on so small a model")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_checkpoint(Path(scratch) / KIND, KIND, eos_scale=0.0)
        theirs, ours = asyncio.run(rates(folder, options.frames, options.repeats))
    print_table(theirs, ours)


def machine() -> str:
    """One line on the machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    cores = len(models) or "?"
    return f"{name}, {cores} cores; torch {torch.__version__}, {torch.get_num_threads()} threads; tiny {KIND}, fp32"


async def rates(folder: Path, frames: int, repeats: int) -> tuple[dict[int, float], dict[int, float]]:
    """Frames per second by number of speeches: qwen-tts, engine.

    The best of `repeats` turns each.
    """
    tts = load_reference(folder)
    theirs, ours = {}, {}
    batch(tts, 1, 8)
    async with await build_engine(str(folder), EngineConfig(device="cpu", dtype="float32")) as engine:
        for count in COUNTS:
            pairs = [(batch(tts, count, frames), await together(engine, count, frames)) for _ in range(repeats)]
            theirs[count], ours[count] = (count * frames / min(seconds) for seconds in zip(*pairs, strict=True))
    return theirs, ours


def batch(tts: Any, count: int, frames: int) -> float:
    """Seconds of qwen-tts for one batch of `count` equal speeches."""
    start = time.perf_counter()
    tts.generate_custom_voice([TEXT] * count, speaker=VOICE, non_streaming_mode=False, max_new_tokens=frames + 1)
    return time.perf_counter() - start


async def together(engine: Engine, count: int, frames: int) -> float:
    """Seconds of the engine for `count` speeches of `frames` frames."""
    start = time.perf_counter()
    made = await asyncio.gather(*(speak(engine, frames) for _ in range(count)))
    seconds = time.perf_counter() - start
    assert made == [frames] * count
    return seconds


async def speak(engine: Engine, frames: int) -> int:
    """Make one speech unpaced; return its number of frames."""
    request = SpeechRequest(
        voice=VOICE,
        sampling=Sampling(max_frames=frames),
        delivery=Delivery(text_mode=TextMode.INCREMENTAL, max_lead=3600.0),
    )
    async with engine.open(request) as speech:
        speech.feed(TEXT)
        speech.end()
        return sum([len(event.codes) async for event in speech if isinstance(event, AudioChunk)])


def print_table(theirs: dict[int, float], ours: dict[int, float]) -> None:
    """Print frames per second, with ratios to qwen-tts.

    Alone, and with a batch of as many.
    """
    print(f"{'speeches':>8} {'qwen-tts f/s':>13} {'engine f/s':>11} {'x one speech':>13} {'x same batch':>13}")
    for count in COUNTS:
        alone, same = ours[count] / theirs[1], ours[count] / theirs[count]
        print(f"{count:8d} {theirs[count]:13.1f} {ours[count]:11.1f} {alone:12.1f}x {same:12.1f}x")


if __name__ == "__main__":
    main()
