"""`make eval-voice`: a server speaks sentences that no training has seen, and a recogniser writes down what it hears.

make eval-voice ARGS="--model FOLDER --voice NAME"
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from qwentts_client.client import AsyncClient, open_wav
from tools.bench.server import serving
from tools.eval_voice import teacher
from tools.eval_voice.recogniser import Recogniser
from tools.eval_voice.speaking import Spoken, speak_all
from tools.eval_voice.words import word_error_rate, word_errors

Pair = tuple[list[Spoken], list[Spoken]]  # texts sent at once, and word by word


class Heard(NamedTuple):
    """A speech, and what the recogniser wrote down."""

    speech: Spoken
    words: str


def main() -> None:
    """Speak on one core, recognise, and print the figures of each voice."""
    parser = argparse.ArgumentParser(prog="make eval-voice", description=__doc__)
    parser.add_argument("--model", default="", help="a checkpoint's folder; without it, the embedded one")
    parser.add_argument("--voice", action="append", help="a voice's name, repeatable; without it, every voice")
    parser.add_argument("--sentences", type=Path, default=teacher.HELD_OUT, help="a file of sentences, a line each")
    parser.add_argument("--first", type=int, default=10**6, metavar="N", help="no more than N sentences")
    parser.add_argument("--keep", type=Path, help="a folder for the recordings")
    parser.add_argument("--show", action="store_true", help="print each sentence that was not heard as it was said")
    arguments = parser.parse_args()
    texts = arguments.sentences.read_text("utf-8").splitlines()[: arguments.first]
    said = speak_with_server(arguments.model, texts, arguments.voice)
    recogniser = Recogniser()
    for voice, (whole, by_words) in said.items():
        heard = recognised(recogniser, whole), recognised(recogniser, by_words)
        print(f"\nvoice {voice}, {len(texts)} sentences")
        report(*heard)
        if arguments.show:
            show([*heard[0], *heard[1]])
        if arguments.keep:
            keep(arguments.keep / voice, whole)
    print(f"\nthe recogniser's own word error rate on the teacher: {teacher.stored().word_error_rate:.1%}")


def speak_with_server(model: str, texts: Sequence[str], voices: Sequence[str] | None) -> dict[str, Pair]:
    """What a server says on one core, by voice; with every voice, if none is named."""
    core = {min(os.sched_getaffinity(0))}
    with serving(["--model", model] if model else [], core) as server:
        return asyncio.run(_speak(server.address, texts, voices))


async def _speak(address: str, texts: Sequence[str], voices: Sequence[str] | None) -> dict[str, Pair]:
    async with AsyncClient(address) as client:
        names = voices or [voice.name for voice in await client.voices()]
        await speak_all(client, texts[:1], names[0], by_words=False)  # warms up
        return {
            name: (await speak_all(client, texts, name, False), await speak_all(client, texts, name, True))
            for name in names
        }


def recognised(recogniser: Recogniser, speeches: Sequence[Spoken]) -> list[Heard]:
    """Each speech with what is heard in it."""
    return [Heard(speech, recogniser.transcribe(speech.samples)) for speech in speeches]


def report(whole: Sequence[Heard], by_words: Sequence[Heard]) -> None:
    """Print the figures of one voice."""
    speeches = [heard.speech for heard in (*whole, *by_words)]
    audio = sum(speech.seconds for speech in speeches)
    firsts = [1000 * speech.first for speech in speeches]
    usual = teacher.stored().seconds
    longest = max((s.seconds / usual[s.text] for s in speeches if s.text in usual), default=0.0)
    agreed = 1 - word_error_rate([(ours.words, theirs.words) for ours, theirs in zip(whole, by_words, strict=True)])
    print(f"word error rate        {rate(whole):.1%} at once, {rate(by_words):.1%} word by word")
    print(f"same words both ways   {max(0.0, agreed):.1%}")
    print(f"ended by themselves    {statistics.mean(speech.ended for speech in speeches):.1%}")
    print(f"pace                   {sum(len(speech.text) for speech in speeches) / audio:.1f} characters a second")
    print(
        f"longest                {longest:.2f} times the teacher's" if longest else "longest                not known"
    )
    print(f"real-time factor       {sum(speech.total for speech in speeches) / audio:.2f} on one core")
    print(f"first audio            {statistics.median(firsts):.0f} ms in the median, {max(firsts):.0f} ms at most")


def rate(heard: Sequence[Heard]) -> float:
    """Word error rate of what was heard."""
    return word_error_rate([(one.speech.text, one.words) for one in heard])


def show(heard: Sequence[Heard]) -> None:
    """Print what was misheard, or went on to the limit."""
    for speech, words in heard:
        if word_errors(speech.text, words) or not speech.ended:
            print(f"  said   {speech.text}\n  heard  {words}{'' if speech.ended else '  (did not end)'}")


def keep(folder: Path, speeches: Sequence[Spoken]) -> None:
    """Write recordings as WAV files, numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, speech in enumerate(speeches):
        with open_wav(folder / f"{number:02}.wav") as file:
            file.writeframes(speech.samples.tobytes())


if __name__ == "__main__":
    main()
