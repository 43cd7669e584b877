"""Train talker and code predictor on coded speech; the clock decides when it ends.

Usage: python -m tools.train_voice.train_talker CODED OUT --minutes 8 [--resume OUT]
CODED is a folder with what `encode` wrote. Some codes that the model reads are replaced at random: in service it reads
its own, which are not always the best.
"""

import copy
import itertools
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.dummy.configs import Json
from engine.dummy.tokenizer import Vocabulary
from engine.model.config import ModelConfig
from tools.train_voice.coded import read_coded
from tools.train_voice.columns import Batch, Batches, Utterance, build_sequences, paragraphs
from tools.train_voice.sizes import CODEBOOK, talker_config
from tools.train_voice.subwords import LooseTokenizer, train_subwords
from tools.train_voice.talker_model import SpeechModel
from tools.train_voice.timed import begin, elapsing, training_options

HELD_OUT = 200  # utterances that are only listened to
PARAGRAPH = 1_000  # characters; the engine cuts longer texts
WARM_UP = 300  # steps
AVERAGE = 0.999
MISREAD_COLUMNS, MISREAD_CODES = 0.1, 0.5  # share of columns that are touched, and of codes replaced there
LABEL_SMOOTHING = 0.02
DROPPED_MERGES = 0.05


class Trainer:
    """Everything that a step changes."""

    def __init__(self, config: Json, device: torch.device, rate: float) -> None:
        self.device, self.rate, self.steps = device, rate, 0
        self.model = SpeechModel(config).to(device)
        _initialise(self.model)
        self.kept = copy.deepcopy(self.model).eval()
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        vectors = [p for p in self.model.parameters() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, rate, (0.9, 0.95), fused=device.type == "cuda")

    def step(self, batch: Batch, done: float) -> tuple[Tensor, Tensor]:
        """One update; `done` of the time has passed. Returns the losses of codebook 0 and of the others."""
        for group in self.optimizer.param_groups:
            warmed = min(1.0, (self.steps + 1) / WARM_UP)
            group["lr"] = self.rate * warmed * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * done)))
        losses = self._losses(self.model, batch._replace(codes=misread(batch.codes)), LABEL_SMOOTHING)
        self.optimizer.zero_grad(set_to_none=True)
        (losses[0] + losses[1]).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        with torch.no_grad():
            average = min(AVERAGE, self.steps / (self.steps + 10))
            torch._foreach_lerp_([*self.kept.parameters()], [*self.model.parameters()], 1 - average)
        return losses[0].detach(), losses[1].detach()

    @torch.no_grad()
    def heard(self, batches: Batches) -> tuple[float, float]:
        """Losses of the averaged model on sequences that it did not learn from."""
        parts = [torch.stack(self._losses(self.kept, batch, 0.0)) for batch in batches.round(0)]
        first, rest = torch.stack(parts).mean(0).tolist()
        return first, rest

    def save(self, path: Path, words: Vocabulary) -> None:
        """The averaged model in bf16, as it is served, and its vocabulary."""
        model = {name: tensor.bfloat16() for name, tensor in self.kept.state_dict().items()}
        torch.save({"model": model, "entries": words.entries, "merges": words.merges}, path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote; the optimizer starts anew."""
        state = torch.load(path, map_location=self.device, weights_only=True)["model"]
        for model in (self.model, self.kept):
            model.load_state_dict({name: tensor.float() for name, tensor in state.items()})

    def _losses(self, model: SpeechModel, batch: Batch, smoothing: float) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            first, rest = model(batch.text, batch.codes, batch.frames, batch.spoken)
        return (
            F.cross_entropy(first.flatten(0, 1).float(), batch.first.flatten(), label_smoothing=smoothing),
            F.cross_entropy(rest.flatten(0, 1).float(), batch.spoken[:, 1:].flatten(), label_smoothing=smoothing),
        )


def misread(codes: Tensor) -> Tensor:
    """Codes (B, L, G) of whole frames with some replaced at random."""
    touched = (torch.rand(codes.shape[:2], device=codes.device) < MISREAD_COLUMNS) & (codes[..., -1] >= 0)
    replaced = touched[..., None] & (torch.rand(codes.shape, device=codes.device) < MISREAD_CODES)
    return torch.where(replaced, torch.randint_like(codes, CODEBOOK), codes)


def _initialise(model: SpeechModel) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0.0, 0.03)


def _split(utterances: list[Utterance], seed: int) -> tuple[list[Utterance], list[Utterance]]:
    order = torch.randperm(len(utterances), generator=torch.Generator().manual_seed(seed)).tolist()
    held = min(HELD_OUT, len(order) // 10)
    return [utterances[i] for i in order[held:]], [utterances[i] for i in order[:held]]


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary that `Trainer.save` wrote beside the model."""
    data = torch.load(path, map_location="cpu", weights_only=True)
    return Vocabulary(data["entries"], [(left, right) for left, right in data["merges"]])


def main() -> None:
    """Train for a time, print the losses now and then, save at the end."""
    parser = training_options(__doc__, "coded", rate=1e-3)
    parser.add_argument("--columns", type=int, default=32_768)
    options = parser.parse_args()
    device = begin(options.seed)
    utterances = read_coded(options.coded)
    words = read_vocabulary(options.resume) if options.resume else train_subwords(u.text for u in utterances)
    config = talker_config(words.config_ids, words.rows)
    sizes = ModelConfig.from_json(config)
    learnt, held = _split(utterances, options.seed)
    learnt += paragraphs(learnt, len(learnt) // 4, PARAGRAPH, options.seed)
    batches, unheard = (
        Batches(build_sequences(sizes, tokenizer, part, 0.5, options.seed).to(device), columns, sizes.codec.eos)
        for part, tokenizer, columns in (
            (learnt, LooseTokenizer(words, DROPPED_MERGES), options.columns),
            (held, LooseTokenizer(words, 0.0), 8_192),
        )
    )
    trainer = Trainer(config, device, options.rate)
    if options.resume:
        trainer.load(options.resume)
    print(f"{len(learnt)} utterances, {len(batches)} batches a round, {words.rows} text ids", flush=True)
    rounds = (batch for seed in itertools.count() for batch in batches.round(seed))
    for number, (done, batch) in enumerate(zip(elapsing(options.minutes), rounds, strict=False)):
        losses = trainer.step(batch, done)
        if number % 500 == 0:
            first, rest = trainer.heard(unheard)
            print(
                f"step {number}, round {number / len(batches):.1f}, {done:.0%}: loss {float(losses[0]):.3f} + "
                f"{float(losses[1]):.3f}, unheard {first:.3f} + {rest:.3f}",
                flush=True,
            )
    trainer.save(options.out, words)


if __name__ == "__main__":
    main()
