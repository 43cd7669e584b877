"""The speech to learn from: the corpus, spoken by the teacher and by flite in the voices of all speakers.

    python -m tools.train_voice.speech --corpus .voice/corpus.npz --teacher .voice/teacher.pt --flite .voice/flite \
        --hours 50 --speakers joe:2 slt:1 [--out FOLDER]

Prints how much there is and how long it took. A folder holds `wave.pt` (one flat int16 tensor at 24 kHz) and `index.pt`
(`offsets`, `texts`, `speakers`); training in the same process calls `make_speech` and needs no folder.
"""

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from tools.train_voice.flite import reading
from tools.train_voice.level import level
from tools.train_voice.phonemes import read_corpus
from tools.train_voice.plan import Line, batches, plan
from tools.train_voice.resample import resample
from tools.train_voice.speakers import RATE, SPEAKERS, Speaker
from tools.train_voice.teacher import load_teacher

_BATCH = {"cuda": 12_000, "cpu": 400}  # phonemes at once


class Speech(NamedTuple):
    """Utterance i is `wave[offsets[i]:offsets[i + 1]]`: int16 at 24 kHz, on any device. `offsets`: int64, on the host.

    `speakers` are places in SPEAKERS.
    """

    wave: Tensor
    offsets: Tensor
    texts: list[str]
    speakers: list[int]

    @property
    def hours(self) -> float:
        """How much there is."""
        return int(self.offsets[-1]) / RATE / 3600


@dataclass(frozen=True)
class Voices:
    """Where the voices are: the file of the teacher's weights, and the folder of flite's libraries."""

    teacher: Path
    flite: Path
    device: torch.device


def main() -> None:
    """Make speech, say how much and how fast, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--flite", type=Path, default=Path())
    parser.add_argument("--hours", type=float, default=50.0)
    parser.add_argument("--speakers", nargs="+", default=["joe:2", "slt:1"], help="names with their shares")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    shares = {name: int(share) for name, share in (speaker.split(":") for speaker in arguments.speakers)}
    start, voices = time.monotonic(), Voices(arguments.teacher, arguments.flite, torch.device(arguments.device))
    speech = make_speech(arguments.corpus, voices, arguments.hours, shares)
    took = time.monotonic() - start
    print(
        f"{len(speech.texts)} utterances, {speech.hours:.3f} hours in {took:.1f} s: {speech.hours * 3600 / took:.0f} x"
    )
    if arguments.out:
        save_speech(arguments.out, speech)


def make_speech(corpus: Path, voices: Voices, hours: float, shares: Mapping[str, int]) -> Speech:
    """About so many hours of speech in the device's memory, speaker by speaker, the shortest first.

    `shares`: speakers' names, and how many of their lines there are for one of the others.
    """
    lines = plan(read_corpus(corpus), hours, shares)
    waves, sizes, said = list[Tensor](), list[Tensor](), list[Line]()
    for batch, wave, lengths in recordings(lines, voices):
        waves.append(wave)
        sizes.append(lengths)
        said.extend(batch)
    offsets = F.pad(torch.cat(sizes).cumsum(0), (1, 0)).cpu()
    return Speech(torch.cat(waves), offsets, [line.text for line in said], [line.speaker for line in said])


def recordings(lines: list[Line], voices: Voices) -> Iterator[tuple[list[Line], Tensor, Tensor]]:
    """Batches of lines with what they sound like: flat int16 at 24 kHz, and how many samples are each line's.

    The teacher speaks on the device, while flite's processes prepare what comes after.
    """
    size = _BATCH[voices.device.type]
    neural = list(batches([line for line in lines if SPEAKERS[line.speaker].neural], size))
    others = list(batches([line for line in lines if not SPEAKERS[line.speaker].neural], size))
    texts = [(line.spoken, line.utterance.slowness) for _, batch in others for line in batch]
    teacher = load_teacher(voices.teacher, voices.device)
    with reading(voices.flite, texts, os.cpu_count() or 1) as heard:
        for speaker, batch in neural:
            yield batch, *finish(*teacher.speak([line.utterance for line in batch]), speaker)
        for speaker, batch in others:
            yield batch, *finish(*_stacked([next(heard) for _ in batch], voices.device), speaker)


def _stacked(recorded: list[NDArray[np.int16]], device: torch.device) -> tuple[Tensor, Tensor]:
    rows = [torch.from_numpy(samples) for samples in recorded]
    waves = pad_sequence(rows, batch_first=True).to(device)
    return waves.float() / 32_768, torch.tensor([len(row) for row in rows], device=device)


def finish(waves: Tensor, lengths: Tensor, speaker: Speaker) -> tuple[Tensor, Tensor]:
    """A source's (B, n) samples in a speaker's voice: flat int16 at 24 kHz, and how many samples are each row's."""
    ratio = speaker.ratio
    waves, starts, ends = level(resample(waves, ratio), lengths * ratio.numerator // ratio.denominator)
    margin = int(torch.stack([-starts.min(), ends.max() - waves.shape[1], starts.new_zeros(())]).max())
    waves = F.pad(waves, (margin, margin))
    places = torch.arange(-margin, waves.shape[1] - margin, device=waves.device)
    kept = (places >= starts[:, None]) & (places < ends[:, None])
    return (waves[kept] * 32_767).round().to(torch.int16), ends - starts


def save_speech(folder: Path, speech: Speech) -> None:
    """Write `speech` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(speech.wave.cpu(), folder / "wave.pt")
    torch.save({"offsets": speech.offsets, "texts": speech.texts, "speakers": speech.speakers}, folder / "index.pt")


def load_speech(folder: Path) -> Speech:
    """Read what `save_speech` wrote; the samples stay in the file until they are used."""
    wave = torch.load(folder / "wave.pt", weights_only=True, mmap=True)
    return Speech(wave, **torch.load(folder / "index.pt", weights_only=True))


if __name__ == "__main__":
    main()
