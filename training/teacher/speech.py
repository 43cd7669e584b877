"""Speech of the training set, in all speakers' voices.

The teacher, flite and eSpeak NG read the corpus.

    python -m training.teacher.speech --corpus .voice/corpus.npz --teacher .voice/teacher.pt --flite .voice/flite \
        --hours 50 --speakers joe:8 slt:5 others:7 --seed 4 --out FILE

Prints how much there is and how long it took.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from training.corpus.phonemes import read_corpus
from training.recorded import PHONE_SAMPLES, PHONES_PER_FRAME, UNKNOWN, Recorded
from training.sizes import FRAME_SAMPLES
from training.teacher import vits
from training.teacher.disguise import Disguise, disguised
from training.teacher.level import level
from training.teacher.plan import SEED, Line, batches, plan
from training.teacher.reading import Job, reading
from training.teacher.resample import resample
from training.teacher.speakers import ALL, JOE
from training.teacher.teacher import Spoken, load_teacher

_BATCH = {"cuda": 12_000, "cpu": 400}  # phonemes at once


class Cut(NamedTuple):
    """A batch end to end.

    wave (F * 1920,) int16 at 24 kHz, phones (F * 4,) uint8, frames (B,) of each.
    """

    wave: Tensor
    phones: Tensor
    frames: Tensor


@dataclass(frozen=True)
class Voices:
    """Locations of the voices.

    The file of the teacher's weights, and the folder of flite's libraries.
    """

    teacher: Path
    flite: Path
    device: torch.device


def main() -> None:
    """Make speech, print amount with duration, keep it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--flite", type=Path, default=Path())
    parser.add_argument("--hours", type=float, default=50.0)
    parser.add_argument("--speakers", nargs="+", default=["joe:8", "slt:5", "others:7"], help="names and shares")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    shares = {name: float(share) for name, share in (speaker.split(":") for speaker in arguments.speakers)}
    start, voices = time.monotonic(), Voices(arguments.teacher, arguments.flite, torch.device(arguments.device))
    speech = make_speech(plan(read_corpus(arguments.corpus), arguments.hours, shares, arguments.seed), voices)
    took = time.monotonic() - start
    print(
        f"{len(speech.texts)} utterances, {speech.hours:.3f} hours in {took:.1f} s: {speech.hours * 3600 / took:.0f} x"
    )
    speech.save(arguments.out)


def make_speech(lines: list[Line], voices: Voices) -> Recorded:
    """Speech of the plan in the device's memory.

    Rate by rate, the shortest first.
    """
    waves, phones, sizes, said = list[Tensor](), list[Tensor](), list[Tensor](), list[Line]()
    for batch, piece in recordings(lines, voices):
        waves.append(piece.wave)
        phones.append(piece.phones)
        sizes.append(piece.frames)
        said.extend(batch)
    starts = F.pad(torch.cat(sizes).cumsum(0), (1, 0)).cpu()
    texts, speakers = [line.text for line in said], [line.speaker for line in said]
    return Recorded(torch.cat(waves), torch.cat(phones), starts, texts, speakers)


def recordings(lines: list[Line], voices: Voices) -> Iterator[tuple[list[Line], Cut]]:
    """Batches of lines with what they sound like.

    The teacher speaks on the device, while the others' processes prepare what comes after.
    """
    size = _BATCH[voices.device.type]
    neural = list(batches([line for line in lines if ALL[line.speaker].family == JOE], size))
    others = list(batches([line for line in lines if ALL[line.speaker].family != JOE], size))
    teacher = load_teacher(voices.teacher, voices.device)
    with reading(voices.flite, [_job(line) for _, batch in others for line in batch], os.cpu_count() or 1) as read:
        for ratio, batch in neural:
            yield batch, cut(teacher.speak([line.utterance for line in batch]), ratio, _disguises(batch))
        for ratio, batch in others:
            yield batch, cut(_stacked([next(read) for _ in batch], voices.device), ratio, _disguises(batch))


def _job(line: Line) -> Job:
    speaker = ALL[line.speaker]
    return Job(speaker.family, speaker.source, line.spoken, line.utterance.slowness)


def _disguises(lines: list[Line]) -> list[Disguise]:
    return [ALL[line.speaker].disguise for line in lines]


def _stacked(recorded: list[NDArray[np.int16]], device: torch.device) -> Spoken:
    """Recordings without their phonemes."""
    rows = [torch.from_numpy(samples) for samples in recorded]
    waves = pad_sequence(rows, batch_first=True).to(device)
    unknown = torch.full((len(rows), 1), UNKNOWN, device=device)
    return Spoken(waves.float() / 32_768, torch.tensor([len(row) for row in rows], device=device), unknown)


def cut(spoken: Spoken, ratio: Fraction, disguises: Sequence[Disguise]) -> Cut:
    """Source recordings, resampled, disguised, with a fixed silence around.

    In whole frames.
    """
    lengths = spoken.lengths * ratio.numerator // ratio.denominator
    waves, starts, ends = level(disguised(resample(spoken.waves, ratio), disguises), lengths)
    frames = -(-(ends - starts) // FRAME_SAMPLES)
    ends = starts + frames * FRAME_SAMPLES
    margin = int(torch.stack([-starts.min(), ends.max() - waves.shape[1], starts.new_zeros(())]).max())
    waves = F.pad(waves, (margin, margin))
    places = torch.arange(-margin, waves.shape[1] - margin, device=waves.device)
    kept = (places >= starts[:, None]) & (places < ends[:, None])
    return Cut((waves[kept] * 32_767).round().short(), _labels(spoken.phones, float(ratio), starts, frames), frames)


def _labels(phones: Tensor, ratio: float, starts: Tensor, frames: Tensor) -> Tensor:
    """Phoneme in the middle of every 20 ms.

    Recordings begin at `starts` (B,) in samples.
    """
    steps = torch.arange(int(frames.max()) * PHONES_PER_FRAME, device=phones.device)
    middles = starts[:, None] + (steps + 0.5) * PHONE_SAMPLES
    hops = (middles / ratio / vits.HOP).long().clamp(0, phones.shape[1] - 1)
    return phones.gather(1, hops)[steps < frames[:, None] * PHONES_PER_FRAME].to(torch.uint8)


if __name__ == "__main__":
    main()
