"""Recordings of speakers whom no clone was trained on.

python -m training.evaluate.unseen .voice/teacher.pt .voice/flite .voice/unseen    # needs training/requirements.txt
"""

import argparse
from pathlib import Path

import torch

from qwentts_client.client import open_wav
from training.corpus.phonemes import phonemise
from training.evaluate.sentences import REFERENCE
from training.sizes import FRAME_SAMPLES
from training.teacher.plan import Line
from training.teacher.speakers import ALL, SPEAKERS, UNSEEN
from training.teacher.speech import Voices, recordings
from training.teacher.teacher import Utterance


def main() -> None:
    """Write a WAV file for each speaker, all saying `REFERENCE`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("teacher", "flite", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for batch, cut in recordings(_lines(), Voices(options.teacher, options.flite, torch.device("cpu"))):
        waves = cut.wave.split((cut.frames * FRAME_SAMPLES).tolist())
        for line, wave in zip(batch, waves, strict=True):
            with open_wav(options.out / f"{ALL[line.speaker].name}.wav") as file:
                file.writeframes(wave.numpy().tobytes())


def _lines() -> list[Line]:
    """A line for each unseen speaker."""
    [text], [spoken], [phonemes] = phonemise([REFERENCE])
    said = [Utterance(phonemes, speaker.pitch, seed=number) for number, speaker in enumerate(UNSEEN)]
    return [Line(text, spoken, len(SPEAKERS) + number, one) for number, one in enumerate(said)]


if __name__ == "__main__":
    main()
