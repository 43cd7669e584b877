"""Train the speaker encoder of clones.

Its targets: who speaks, with the speaker's pitch and mean spectrum.
Usage: python -m training.speaker.train RECORDED OUT --minutes 60
Noise and narrow lines are added to recordings, so that one made elsewhere works as well.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.checkpoint.codec_config import SpeakerEncoderConfig
from engine.checkpoint.layout import main_shapes
from engine.checkpoint.tensors import under
from engine.model.speaker.encoder import SpeakerEncoder
from engine.model.speaker.mel import LogMel
from training.recorded import Recorded
from training.sizes import FRAME_SAMPLES, SAMPLE_RATE, clone_config
from training.teacher.speakers import HERTZ, SPEAKERS
from training.timed import begin, elapsing, falling, training_options

FRAMES = (90, 300)  # mel frames of a crop: 1 to 3.2 s
SCALE, MARGIN = 24.0, 0.15  # of the additive margin softmax (Wang et al. 2018, arXiv 1801.05599)
LOUDNESS = 0.15  # standard deviation of a coordinate of the vector: that of a built-in voice's row
LOUD = -7.0  # mean of a frame that is loud
QUIETEST = -11.5  # natural logarithm of the least mel magnitude


class Heard(NamedTuple):
    """Log-mel frames, recordings end to end.

    mels (N, bands) of all recordings; starts (U + 1,) of each; speakers (U,).
    """

    mels: Tensor
    starts: Tensor
    speakers: Tensor


class Encoder(nn.Module):
    """Trainable form of the engine's speaker encoder."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        config = clone_config({}, 1)
        shapes = under(main_shapes(config), "speaker_encoder")
        self.tensors = {name: nn.Parameter(_first(shape).to(device)) for name, shape in shapes.items()}
        for name, parameter in self.tensors.items():
            self.register_parameter(name.replace(".", "/"), parameter)
        self.encoder = SpeakerEncoder(SpeakerEncoderConfig.from_json(config["speaker_encoder_config"]), self.tensors)

    def forward(self, mels: Tensor) -> Tensor:
        """(B, bands, T) -> (B, talker width)."""
        return self.encoder.forward(mels)


class Trainer:
    """Everything that a step changes."""

    def __init__(self, heard: Heard, rate: float) -> None:
        """`heard`: on the device to train on."""
        device = heard.mels.device
        self.encoder, self.heard, self.rate = Encoder(device), heard, rate
        width = self.encoder.tensors["fc.bias"].numel()
        self.classes = nn.Parameter(torch.randn(len(SPEAKERS), width, device=device))
        self.wanted = _facts(heard)
        self.facts = nn.Linear(width, self.wanted.shape[1], device=device)
        self.norm = nn.BatchNorm1d(width, affine=False, device=device)
        self._long = heard.starts[1:] - heard.starts[:-1]
        parameters = [*self.encoder.parameters(), self.classes, *self.facts.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, rate, weight_decay=0.02)

    def step(self, count: int, done: float) -> dict[str, Tensor]:
        """One update on `count` crops, at time `done` of 1.

        Returns the losses, with the share of crops whose speaker is recognised ("right").
        """
        self.optimizer.param_groups[0]["lr"] = self.rate * min(1.0, done / 0.03) * falling(done, 0.02)
        mels, speakers = self.crops(count)
        vectors = self.norm(self.encoder(strained(mels)))
        near = F.normalize(vectors) @ F.normalize(self.classes).T
        right = near.argmax(1) == speakers
        near = near - MARGIN * F.one_hot(speakers, len(SPEAKERS))
        losses = {
            "who": F.cross_entropy(SCALE * near, speakers, label_smoothing=0.1),
            "facts": F.smooth_l1_loss(self.facts(vectors), self.wanted[speakers]),
        }
        self.optimizer.zero_grad()
        (losses["who"] + 4 * losses["facts"]).backward()
        nn.utils.clip_grad_norm_(self.encoder.parameters(), 5.0)
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()} | {"right": right.float().mean()}

    def crops(self, count: int) -> tuple[Tensor, Tensor]:
        """Random crops, mels (count, bands, T), with speakers (count,).

        All are of one random length.
        """
        length, device = int(torch.randint(*FRAMES, ())), self._long.device
        chosen = (torch.rand(count, len(self._long), device=device) * (self._long >= length)).argmax(1)
        room = self._long[chosen] - length + 1
        first = self.heard.starts[chosen] + (torch.rand(count, device=device) * room).long()
        mels = self.heard.mels[first[:, None] + torch.arange(length, device=device)]
        return mels.float().transpose(1, 2), self.heard.speakers[chosen]

    def tensors(self) -> dict[str, Tensor]:
        """Tensors as served; the last map also centres, scales."""
        tensors = {name: parameter.detach().cpu().clone() for name, parameter in self.encoder.tensors.items()}
        mean, deviation = self.norm.running_mean, self.norm.running_var
        assert mean is not None and deviation is not None
        scale, mean = LOUDNESS / deviation.cpu().sqrt(), mean.cpu()
        tensors["fc.weight"] *= scale[:, None, None]
        tensors["fc.bias"] = (tensors["fc.bias"] - mean) * scale
        return tensors


def listen(speech: Recorded, most: int, device: torch.device) -> Heard:
    """Log-mel frames of at most `most` recordings, on a device."""
    chosen = torch.randperm(len(speech.texts))[:most].tolist()
    mel, samples = LogMel(SAMPLE_RATE, 128, device), (speech.starts * FRAME_SAMPLES).tolist()
    mels = [mel(speech.wave[samples[one] : samples[one + 1]].float() / 32_768).T.half() for one in chosen]
    starts = F.pad(torch.tensor([len(part) for part in mels]).cumsum(0), (1, 0))
    speakers = torch.tensor([speech.speakers[one] for one in chosen])
    return Heard(*(part.to(device) for part in (torch.cat(mels), starts, speakers)))


def strained(mels: Tensor) -> Tensor:
    """Log-mels (B, bands, T) with random loudness, noise, narrow band.

    The narrow band is that of a telephone line, at times.
    """
    bands, own = mels.shape[1], mels[:, :1, :1]  # a chance each
    loudest = mels.amax((1, 2), keepdim=True)
    slope = torch.linspace(-1, 1, bands, device=mels.device)[:, None] * torch.randn_like(own)
    noise = loudest - 3.0 - 5.0 * torch.rand_like(own) + slope + 0.4 * torch.randn_like(mels)
    noisy = torch.logaddexp(2 * mels, 2 * noise) / 2
    heard = torch.where(torch.rand_like(own) < 0.6, noisy, mels)
    edge = 64 + (bands - 64) * torch.rand_like(own)  # mel band 72 is at 4 kHz
    narrow = (torch.rand_like(own) < 0.35) & (torch.arange(bands, device=mels.device)[:, None] > edge)
    heard = torch.where(narrow, heard.clamp(max=QUIETEST + 1.5), heard)
    return (heard + 0.7 * torch.randn_like(own)).clamp(min=QUIETEST)


def _facts(heard: Heard) -> Tensor:
    """Facts of each speaker, (speakers, 33), standardised.

    Pitch, then the mean of loud frames in 32 bands; mean 0 and deviation 1 over speakers.
    """
    owners = heard.speakers.repeat_interleave(heard.starts[1:] - heard.starts[:-1])
    loud = heard.mels.float().mean(1) > LOUD
    rows = torch.zeros(len(SPEAKERS), 33, device=loud.device)
    for number, speaker in enumerate(SPEAKERS):
        frames = heard.mels[(owners == number) & loud].float()
        spectrum = frames.mean(0) if len(frames) else loud.new_full((128,), -6.0, dtype=torch.float)
        rows[number, 1:] = (spectrum - spectrum.mean()).view(32, 4).mean(1)
        rows[number, 0] = math.log(HERTZ[speaker.source] * speaker.pitch)
    return (rows - rows.mean(0)) / rows.std(0).clamp(min=1e-3)


def _first(shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 1:
        return torch.zeros(shape)
    return torch.randn(shape) * (2 / (shape[1] * shape[2])) ** 0.5


def main() -> None:
    """Train for a time, print losses, save at the end."""
    parser = training_options(__doc__, "recorded", rate=2e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--most", type=int, default=8_000, help="recordings")
    options = parser.parse_args()
    device = begin(options.seed)
    trainer = Trainer(listen(Recorded.load(options.recorded, torch.device("cpu")), options.most, device), options.rate)
    for number, done in enumerate(elapsing(options.minutes)):
        losses = trainer.step(options.batch, done)
        if number % 200 == 0:
            told = ", ".join(f"{name} {float(loss):.3f}" for name, loss in losses.items())
            print(f"step {number}, {done:.0%}: {told}", flush=True)
    torch.save(trainer.tensors(), options.out)


if __name__ == "__main__":
    main()
