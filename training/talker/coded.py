"""Training data of the talker: recordings as codes, with texts.

Usage: python -m training.talker.coded RECORDED CODEC OUT [--speaker SPEAKER] [--more RECORDED ...]
CODEC is a file of the codec's training or a checkpoint's folder. With a speaker encoder, the data also serves cloning:
every speaker's vectors are of the first recordings.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.codec_config import SpeakerEncoderConfig
from engine.model.speaker.encoder import SpeakerEncoder
from engine.model.speaker.mel import LogMel
from training.codec.model import Codec
from training.recorded import Recorded
from training.resumed import read_codec
from training.sizes import FRAME_SAMPLES, SAMPLE_RATE, clone_config, tokenizer_config
from training.speaker.train import strained
from training.talker.columns import Codes, Utterance
from training.teacher.speakers import SPEAKERS

PART = 400_000  # frames a file
AT_ONCE = 4_096  # frames in one call of the encoder
VECTORS, VECTOR_FRAMES = 16, 40  # vectors a speaker, frames of the stretch behind each: 3.2 s
CONTEXT = 8  # frames before them that the encoder gets: more than it reaches back
SHIFTS = (0, FRAME_SAMPLES // 2)  # samples by which frames are moved: other codes for the same speech


@torch.inference_mode()
def encode(speech: Recorded, codec: Codec, shift: int = 0) -> list[Utterance]:
    """Codes of every recording, from sample `shift` on.

    `shift` is to be less than the silence around each recording. They are encoded end to end: each starts after the
    silence of the one before it.
    """
    pieces = [_codes(codec, speech, start, shift) for start in range(0, speech.frames, AT_ONCE)]
    codes, starts = torch.cat(pieces).short().cpu().numpy(), speech.starts.tolist()
    said = zip(speech.texts, speech.speakers, itertools.pairwise(starts), strict=True)
    return [Utterance(text, speaker, codes[start:stop]) for text, speaker, (start, stop) in said]


def _codes(codec: Codec, speech: Recorded, start: int, shift: int) -> Tensor:
    """(`AT_ONCE` or what is left, groups) from frame `start` on."""
    context = min(start, CONTEXT)
    first, end = ((frame * FRAME_SAMPLES + shift) for frame in (start - context, start + AT_ONCE))
    samples = speech.wave[first:end].float() / 32768
    samples = F.pad(samples, (0, -len(samples) % FRAME_SAMPLES))  # the last frame's end may be cut off
    return codec.quantizer(codec.encoder(samples[None])).codes[0, context:]


@torch.inference_mode()
def speaker_vectors(speech: Recorded, encoder: SpeakerEncoder) -> Tensor:
    """Vectors (speakers, VECTORS, K) of stretches of each one's speech.

    Zero for a speaker without recordings.
    """
    weight, owners = encoder.projection.weight, torch.tensor(speech.speakers)
    mel, starts, vectors = LogMel(SAMPLE_RATE, 128, weight.device), speech.starts.tolist(), list[Tensor]()
    for number in range(len(SPEAKERS)):
        own = (owners == number).nonzero()[:, 0]
        waves = [_stretch(speech, starts, own) for _ in range(VECTORS if len(own) else 0)]
        mels = [mel(wave).to(weight) for wave in waves]
        vectors.append(encoder.forward(strained(torch.stack(mels))) if mels else weight.new_zeros(VECTORS, len(weight)))
    return torch.stack(vectors).cpu()


def _stretch(speech: Recorded, starts: Sequence[int], own: Tensor) -> Tensor:
    """About `VECTOR_FRAMES` frames of random recordings of `own`.

    The recordings are end to end.
    """
    parts, frames = list[Tensor](), 0
    while frames < VECTOR_FRAMES:
        one = int(own[torch.randint(len(own), ())])
        parts.append(speech.wave[starts[one] * FRAME_SAMPLES : starts[one + 1] * FRAME_SAMPLES])
        frames += starts[one + 1] - starts[one]
    return torch.cat(parts)[: VECTOR_FRAMES * FRAME_SAMPLES].float() / 32_768


def write_vectors(folder: Path, vectors: Tensor) -> None:
    """The file that `read_vectors` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", vectors.half().numpy())


def read_vectors(folder: Path) -> Tensor | None:
    """(speakers, R, K), if there are any."""
    path = folder / "vectors.npy"
    return torch.from_numpy(np.load(path)).float() if path.exists() else None


def load_speaker(path: Path, device: torch.device) -> SpeakerEncoder:
    """The speaker encoder that training saved."""
    tensors = {name: tensor.to(device) for name, tensor in torch.load(path, weights_only=True).items()}
    return SpeakerEncoder(SpeakerEncoderConfig.from_json(clone_config({}, 1)["speaker_encoder_config"]), tensors)


def write_coded(folder: Path, utterances: list[Utterance]) -> None:
    """Files of about `PART` frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(_parts(utterances)):
        np.savez(
            folder / f"part-{number:03}.npz",
            codes=np.concatenate([u.codes for u in part]),
            lengths=np.array([len(u.codes) for u in part], np.int32),
            speakers=np.array([u.speaker for u in part], np.int16),
            texts=np.frombuffer("\n".join(u.text for u in part).encode(), np.uint8),
        )


def read_coded(folder: Path) -> list[Utterance]:
    """Read what `write_coded` wrote."""
    return [utterance for path in sorted(folder.glob("part-*.npz")) for utterance in _read(path)]


def load_codec(path: Path, device: torch.device) -> Codec:
    """Codec of a training's file, averaged, or a checkpoint's folder."""
    codec = Codec(tokenizer_config()).to(device).eval()
    state = read_codec(path) if path.is_dir() else torch.load(path, map_location=device, weights_only=True)["codec"]
    codec.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return codec


def _parts(utterances: list[Utterance]) -> Iterator[list[Utterance]]:
    part, frames = list[Utterance](), 0
    for utterance in utterances:
        part.append(utterance)
        frames += len(utterance.codes)
        if frames >= PART:
            yield part
            part, frames = [], 0
    if part:
        yield part


def _read(path: Path) -> Iterator[Utterance]:
    with np.load(path) as data:
        codes: Codes = data["codes"]
        pieces = np.split(codes, np.cumsum(data["lengths"])[:-1])
        texts = data["texts"].tobytes().decode().split("\n")
        for text, speaker, piece in zip(texts, data["speakers"].tolist(), pieces, strict=True):
            yield Utterance(text, speaker, piece)


def main() -> None:
    """Encode all recordings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorded", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--speaker", type=Path)
    parser.add_argument("--more", type=Path, nargs="+", default=[], metavar="RECORDED")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    speech, codec = Recorded.load(options.recorded, device), load_codec(options.codec, device)
    utterances = [said for shift in SHIFTS for said in encode(speech, codec, shift)]
    for path in options.more:
        more = Recorded.load(path, device)
        utterances += [said for shift in SHIFTS for said in encode(more, codec, shift)]
    write_coded(options.out, utterances)
    if options.speaker:
        write_vectors(options.out, speaker_vectors(speech, load_speaker(options.speaker, device)))
    print(f"{len(utterances)} utterances, {sum(len(u.codes) for u in utterances)} frames")


if __name__ == "__main__":
    main()
