"""Train the codec on recordings: spectra first, then critics too; the clock decides when it ends.

Usage: python -m tools.train_voice.train_codec RECORDED OUT --minutes 8 [--resume OUT]
Level 0 of the quantizer also has to tell which phonemes its frame holds, so that it is what the talker can learn best.
"""

import copy
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.train_voice.codec_model import Codec
from tools.train_voice.critics import Critics, critic_loss, deception_loss, likeness_loss
from tools.train_voice.recorded import PHONES_PER_FRAME, UNKNOWN, Recorded
from tools.train_voice.sizes import tokenizer_config
from tools.train_voice.spectra import MelDistance
from tools.train_voice.timed import begin, elapsing, training_options

PHONES = 256
WEIGHTS = {"mel": 15.0, "commitment": 0.25, "phones": 0.5, "deception": 1.0, "likeness": 2.0}
ALONE = 0.15  # share of the time without critics
AVERAGE = 0.998  # a step's weight in what is kept: the mean of the last steps sounds cleaner than the last


class Trainer:
    """Everything that a step changes."""

    def __init__(self, device: torch.device, rate: float) -> None:
        config = tokenizer_config()
        self.device = device
        self.codec, self.critics = Codec(config).to(device), Critics().to(device)
        self.phones = nn.Linear(config["encoder_config"]["codebook_dim"], PHONES_PER_FRAME * PHONES).to(device)
        self.kept = copy.deepcopy(self.codec)
        self.distance = MelDistance(device)
        self.rate = rate
        self.making = torch.optim.AdamW([*self.codec.parameters(), *self.phones.parameters()], rate, (0.8, 0.99))
        self.judging = torch.optim.AdamW(self.critics.parameters(), rate, (0.8, 0.99))

    def step(self, real: Tensor, phones: Tensor, done: float) -> dict[str, Tensor]:
        """One update on audio (B, T) and phones (B, N, 4); `done` of the time has passed. Returns the losses."""
        self._set_rate(done)
        with self._half():
            made, quantized = self.codec(real)
        made = made.float()
        losses = {
            "mel": self.distance(made, real),
            "commitment": quantized.commitment,
            "phones": self._phone_loss(quantized.semantic, phones),
        }
        if done >= ALONE:
            judged = self._judge(real, made.detach())
            losses |= self._deceive(real, made)
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        _update(self.making, total, self.codec)
        self._keep()
        return {name: loss.detach() for name, loss in losses.items()} | ({"judged": judged} if done >= ALONE else {})

    def save(self, path: Path) -> None:
        """The averaged codec, the critics and the phoneme map, in halves."""
        parts = {"codec": self.kept, "critics": self.critics, "phones": self.phones}
        torch.save({name: _halved(part.state_dict()) for name, part in parts.items()}, path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote; the optimizers start anew."""
        data = torch.load(path, map_location=self.device, weights_only=True)
        for part, name in (
            (self.codec, "codec"),
            (self.kept, "codec"),
            (self.critics, "critics"),
            (self.phones, "phones"),
        ):
            part.load_state_dict({key: value.float() for key, value in data[name].items()})

    def _set_rate(self, done: float) -> None:
        for group in (*self.making.param_groups, *self.judging.param_groups):
            group["lr"] = self.rate * (0.05 + 0.95 * (0.5 + 0.5 * math.cos(math.pi * done)))

    def _half(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _phone_loss(self, semantic: Tensor, phones: Tensor) -> Tensor:
        logits = self.phones(semantic).unflatten(2, (PHONES_PER_FRAME, PHONES))
        return F.cross_entropy(logits.flatten(0, 2), phones.flatten(), ignore_index=UNKNOWN)

    def _judge(self, real: Tensor, made: Tensor) -> Tensor:
        with self._half():
            loss = critic_loss(self.critics(real), self.critics(made))
        _update(self.judging, loss, self.critics)
        return loss.detach()

    def _deceive(self, real: Tensor, made: Tensor) -> dict[str, Tensor]:
        with self._half():
            with torch.no_grad():
                known = self.critics(real)
            self.critics.requires_grad_(False)
            opinions = self.critics(made)
            self.critics.requires_grad_(True)
        return {"deception": deception_loss(opinions), "likeness": likeness_loss(known, opinions)}

    @torch.no_grad()
    def _keep(self) -> None:
        torch._foreach_lerp_([*self.kept.parameters()], [*self.codec.parameters()], 1 - AVERAGE)
        for kept, buffer in zip(self.kept.buffers(), self.codec.buffers(), strict=True):
            kept.copy_(buffer)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 5.0)
    optimizer.step()


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters in bf16, whose range is fp32's; codebooks as they are."""
    exact = (".usage", ".sums")
    return {name: tensor if name.endswith(exact) else tensor.bfloat16() for name, tensor in state.items()}


def main() -> None:
    """Train for a time, print the losses now and then, save at the end."""
    parser = training_options(__doc__, "recorded", rate=5e-4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=16)
    options = parser.parse_args()
    device = begin(options.seed)
    torch.backends.cudnn.benchmark = True
    speech = Recorded.load(options.recorded, device)
    trainer = Trainer(device, options.rate)
    if options.resume:
        trainer.load(options.resume)
    print(f"{speech.hours:.1f} hours of speech, {len(speech.texts)} recordings", flush=True)
    for number, done in enumerate(elapsing(options.minutes)):
        losses = trainer.step(*speech.crops(options.batch, options.frames), done)
        if number % 100 == 0:
            told = ", ".join(f"{name} {float(loss):.3f}" for name, loss in losses.items())
            print(f"step {number}, {done:.0%}: {told}", flush=True)
    trainer.save(options.out)


if __name__ == "__main__":
    main()
