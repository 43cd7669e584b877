"""`make eval-voice`: word errors of a voice, by a recogniser.

A server speaks sentences from outside the training set; a recogniser transcribes them.

make eval-voice ARGS="--model FOLDER --voice NAME"
make eval-voice ARGS="--model FOLDER --clones RECORDINGS"    # a checkpoint that clones
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.parts.server import serving
from qwentts_client.client import AsyncClient, open_wav
from training.evaluate import clones, picture, report, teacher
from training.evaluate.heard import Count, Heard, counted, recognised
from training.evaluate.pace import QUARTERS, quarters
from training.evaluate.recogniser import Recogniser
from training.evaluate.sentences import BLANK, HELLO, SETS, read, sentences
from training.evaluate.speaking import Spoken, Who, silent, speak_all
from training.evaluate.words import word_errors

GREETINGS = 6  # times that `HELLO` is said, either way
LONG = 6  # sentences of a turn whose pace is looked at


Pair = tuple[list[Spoken], list[Spoken]]  # texts sent at once, and word by word


class Said(NamedTuple):
    """Speeches of a voice: sentences, greetings, long turns.

    `silences`: whether each blank text brought no audio.
    """

    sentences: Pair
    greetings: Pair
    turns: Pair
    silences: list[bool]


def main() -> None:
    """Speak on one core, recognise, print each voice's figures."""
    options = _options()
    chosen = list(read(options.sentences)) if options.sentences else sentences(tuple(options.sets))
    chosen = chosen[:: options.every][: options.first]
    if options.clones:
        for line in clones.judged(options.model, options.clones, chosen):
            print(line, flush=True)
        return
    said = speak_with_server(options.model, [sentence.text for sentence in chosen], options.voice)
    recogniser, known = Recogniser(), teacher.stored()
    bars, marks = dict[str, dict[str, Count]](), list[dict[str, Count]]()
    for voice, own in said.items():
        whole, by_words = (recognised(recogniser, zip(chosen, way, strict=True)) for way in own.sentences)
        usual = known.counts.get(voice, {})
        print(f"\nvoice {voice}, {len(chosen)} sentences")
        print(*report.kinds(whole, by_words, usual), sep="\n")
        print(*report.figures(whole, by_words, known.seconds), *_rest(recogniser, own), sep="\n", flush=True)
        bars |= {f"{voice} at once": counted(whole), f"{voice} word by word": counted(by_words)}
        marks += [usual, usual]
        if options.show:
            print(*report.misheard([*whole, *by_words]), sep="\n")
        if options.keep:
            keep(options.keep / voice, whole)
    if options.picture:
        options.picture.write_text(picture.draw(bars, marks, "Word error rate by kind of sentence"), "utf-8")
        print(f"\npicture in {options.picture}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make eval-voice", description=__doc__)
    parser.add_argument("--model", default="", help="a checkpoint's folder; without it, the embedded one")
    parser.add_argument("--voice", action="append", help="a voice's name, repeatable; without it, every voice")
    parser.add_argument("--clones", type=Path, metavar="FOLDER", help="WAV files of speakers to clone, from .unseen")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS, help="which of our sentences")
    parser.add_argument("--sentences", type=Path, help="a file of other sentences, a line each")
    parser.add_argument("--first", type=int, default=10**6, metavar="N", help="no more than N sentences")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th sentence")
    parser.add_argument("--keep", type=Path, help="a folder for the recordings")
    parser.add_argument("--picture", type=Path, help="an SVG file to draw")
    parser.add_argument("--show", action="store_true", help="print each sentence that was not heard as it was said")
    return parser.parse_args()


def speak_with_server(model: str, texts: Sequence[str], voices: Sequence[str] | None) -> dict[str, Said]:
    """Speeches of a server on one core, by voice.

    Covers every voice, if none is named.
    """
    core = {min(os.sched_getaffinity(0))}
    with serving(["--model", model] if model else [], core) as server:
        return asyncio.run(_speak(server.address, texts, voices))


async def _speak(address: str, texts: Sequence[str], voices: Sequence[str] | None) -> dict[str, Said]:
    turns = [" ".join(texts[start : start + LONG]) for start in range(0, min(len(texts), 2 * LONG), LONG)]
    async with AsyncClient(address) as client:
        names = voices or [voice.name for voice in await client.voices()]
        await speak_all(client, texts[:1], Who(names[0]), by_words=False)  # warms up
        return {name: await _said(client, Who(name), texts, turns) for name in names}


async def _said(client: AsyncClient, who: Who, texts: Sequence[str], turns: Sequence[str]) -> Said:
    said, greetings, long = [
        (await speak_all(client, own, who, by_words=False), await speak_all(client, own, who, by_words=True))
        for own in (texts, [HELLO] * GREETINGS, turns)
    ]
    return Said(said, greetings, long, [await silent(client, text, who) for text in BLANK])


def _rest(recogniser: Recogniser, said: Said) -> list[str]:
    """Lines about greetings, blank texts, long turns."""
    greetings = [speech for way in said.greetings for speech in way]
    right = sum(not word_errors(HELLO, recogniser.transcribe(speech.samples)) for speech in greetings)
    lines = [
        f'"{HELLO}"         right in {right} of {len(greetings)}',
        f"blank texts            silent in {sum(said.silences)} of {len(said.silences)}",
    ]
    for name, way in zip(("at once", "word by word"), said.turns, strict=True):
        pace = np.mean([quarters(recogniser.timed(speech.samples)) for speech in way], 0)
        told = " ".join(f"{letters:.1f}" for letters in pace)
        lines.append(f"letters a second, by {QUARTERS} quarters of a long turn, {name}: {told}")
    return lines


def keep(folder: Path, heard: Sequence[Heard]) -> None:
    """Write recordings as WAV files, numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(heard):
        with open_wav(folder / f"{number:03}.wav") as file:
            file.writeframes(one.speech.samples.tobytes())


if __name__ == "__main__":
    main()
