"""Train the codec on recordings for a given time.

Steps run freely, then quantized, then before critics too.
Usage: python -m training.codec.train RECORDED OUT --minutes 8 [--resume OUT [--same-codes]]
Level 0 of the quantizer also has to predict the phonemes of its frame, so that the talker can predict it best.
"""

import copy
from enum import Enum, auto
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.codec.critics import Critics, critic_loss, deception_loss, likeness_loss
from training.codec.model import Codec, initialise
from training.codec.spectra import MelDistance
from training.recorded import PHONES_PER_FRAME, UNKNOWN, Recorded
from training.replayed import Replayed
from training.resumed import read_codec
from training.sizes import tokenizer_config
from training.timed import begin, elapsing, falling, leave_default_stream, training_options

PHONES = 256
WEIGHTS = {"mel": 15.0, "commitment": 0.25, "phones": 0.5, "deception": 1.0, "likeness": 2.0}
FREE = 0.2  # share of the time in which nothing is quantized
ALONE = 0.6  # share of the time without critics, who cost more than all else
ACQUAINTED = 0.25  # the same, of a training that goes on from a checkpoint
WARM_UP = 0.02  # share of the time in which steps grow
AVERAGE = 0.998  # a step's weight in what is kept: the mean of the last steps sounds cleaner than the last


class Phase(Enum):
    """Kind of step: unquantized, quantized, or with critics."""

    FREE = auto()
    QUANTIZED = auto()
    JUDGED = auto()


class Trainer:
    """Everything that a step changes."""

    def __init__(self, device: torch.device, rate: float, *, eager: bool = False) -> None:
        """`eager`: no CUDA graphs."""
        config = tokenizer_config()
        self.device = device
        self.codec, self.critics = Codec(config).to(device), Critics().to(device)
        initialise(self.codec)
        self.phones = nn.Linear(config["encoder_config"]["codebook_dim"], PHONES_PER_FRAME * PHONES).to(device)
        self.kept = copy.deepcopy(self.codec)
        self.distance = MelDistance(device)
        self.rate, self.free, self.alone = rate, FREE, ALONE
        self._rate = torch.tensor(rate, device=device)  # a tensor, so that captured steps see it change
        captured = device.type == "cuda"
        self.making, self.judging = (
            torch.optim.AdamW(parameters, self._rate, (0.8, 0.99), fused=True, capturable=captured)
            for parameters in ([*self.codec.parameters(), *self.phones.parameters()], [*self.critics.parameters()])
        )
        self._update = Replayed(self._learn) if captured and not eager else self._learn

    def step(self, real: Tensor, phones: Tensor, done: float) -> dict[str, Tensor]:
        """One update on audio (B, T), phones (B, N, 4).

        `done` of the time has passed. Returns the losses, valid until the next step.
        """
        warmed = min(1.0, done / WARM_UP)
        self._rate.fill_(self.rate * warmed * falling(done, 0.05))
        return self._update(self._phase(done), real, phones)

    def save(self, path: Path) -> None:
        """Averaged codec, critics, phoneme map, in half precision."""
        parts = {"codec": self.kept, "critics": self.critics, "phones": self.phones}
        torch.save({name: _halved(part.state_dict()) for name, part in parts.items()}, path)

    def load(self, path: Path) -> None:
        """Resume from what `save` wrote; the optimizers start anew.

        Critics train from the start, but a checkpoint's folder has none: there they begin after `ACQUAINTED`, when the
        codec fits its new speakers.
        """
        if path.is_dir():
            self.free, self.alone = 0.0, ACQUAINTED
            for codec in (self.codec, self.kept):
                codec.load_state_dict(read_codec(path))
            return
        self.free, self.alone = 0.0, 0.0
        data = torch.load(path, map_location=self.device, weights_only=True)
        for part, name in (
            (self.codec, "codec"),
            (self.kept, "codec"),
            (self.critics, "critics"),
            (self.phones, "phones"),
        ):
            part.load_state_dict({key: value.float() for key, value in data[name].items()})

    def keep_codes(self) -> None:
        """Train only what is behind the codes, from step 0.

        A talker of the same codes still fits afterwards. Call before any step.
        """
        self.codec.encoder.requires_grad_(False)
        self.codec.quantizer.eval()  # no codebook moves
        for part in (self.codec.quantizer.semantic, self.codec.quantizer.acoustic):
            part.input_proj.requires_grad_(False)

    def _phase(self, done: float) -> Phase:
        if done >= self.alone:
            return Phase.JUDGED
        return Phase.FREE if done < self.free else Phase.QUANTIZED

    def _learn(self, phase: Phase, real: Tensor, phones: Tensor) -> dict[str, Tensor]:
        with self._half():
            made, quantized = self.codec(real, free=phase is Phase.FREE)
        made, judged = made.float(), dict[str, Tensor]()
        losses = {
            "mel": self.distance(made, real),
            "commitment": quantized.commitment,
            "phones": self._phone_loss(quantized.semantic, phones),
        }
        if phase is Phase.JUDGED:
            judged["judged"] = self._judge(real, made.detach())
            losses |= self._deceive(real, made)
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        _descend(self.making, total, self.codec)
        self._keep()
        return {name: loss.detach() for name, loss in losses.items()} | judged

    def _half(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _phone_loss(self, semantic: Tensor, phones: Tensor) -> Tensor:
        logits = self.phones(semantic).unflatten(2, (PHONES_PER_FRAME, PHONES))
        known = (phones != UNKNOWN).sum().clamp(min=1)  # none may be, in a small batch
        return F.cross_entropy(logits.flatten(0, 2), phones.flatten(), ignore_index=UNKNOWN, reduction="sum") / known

    def _judge(self, real: Tensor, made: Tensor) -> Tensor:
        self.critics.requires_grad_(True)
        with self._half():
            loss = critic_loss(self.critics(real), self.critics(made))
        _descend(self.judging, loss, self.critics)
        return loss.detach()

    def _deceive(self, real: Tensor, made: Tensor) -> dict[str, Tensor]:
        self.critics.requires_grad_(False)
        with self._half():
            known, opinions = self.critics(real), self.critics(made)
        return {"deception": deception_loss(opinions), "likeness": likeness_loss(known, opinions)}

    @torch.no_grad()
    def _keep(self) -> None:
        torch._foreach_lerp_([*self.kept.parameters()], [*self.codec.parameters()], 1 - AVERAGE)
        torch._foreach_copy_([*self.kept.buffers()], [*self.codec.buffers()])


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 5.0)
    optimizer.step()


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters in bf16, for fp32's range; codebooks as they are."""
    exact = (".usage", ".sums")
    return {name: tensor if name.endswith(exact) else tensor.bfloat16() for name, tensor in state.items()}


def main() -> None:
    """Train for a time, print losses, save at the end."""
    parser = training_options(__doc__, "recorded", rate=5e-4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--unjudged", action="store_true", help="no critics: more steps, for codes above all")
    parser.add_argument("--same-codes", action="store_true", help="train the decoder alone")
    options = parser.parse_args()
    device = begin(options.seed)
    torch.backends.cudnn.benchmark = True
    leave_default_stream(device)
    speech = Recorded.load(options.recorded, device)
    trainer = Trainer(device, options.rate, eager=options.eager)
    if options.resume:
        trainer.load(options.resume)
    if options.unjudged:
        trainer.alone = 1.0
    if options.same_codes:
        trainer.keep_codes()
    print(f"{speech.hours:.1f} hours of speech, {len(speech.texts)} recordings", flush=True)
    steps = 0
    for done in elapsing(options.minutes):
        losses = trainer.step(*speech.crops(options.batch, options.frames), done)
        if steps % 500 == 0:
            told = ", ".join(f"{name} {float(loss):.3f}" for name, loss in losses.items())
            print(f"step {steps}, {done:.0%}: {told}", flush=True)
        steps += 1
    print(f"{steps} steps", flush=True)
    trainer.save(options.out)


if __name__ == "__main__":
    main()
