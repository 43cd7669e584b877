"""Train talker with code predictor on coded speech.

The clock decides when it ends.

Usage: python -m training.talker.train CODED OUT --minutes 8 [--resume OUT]
CODED is a folder with what `encode` wrote. Some codes that the model reads are replaced at random: in service it reads
its own, which are not always the best. Others are taken away, and attention is guided: else it continues the codes and
ignores the text.
"""

import copy
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.dummy.configs import Json
from engine.checkpoint.dummy.tokenizer import Vocabulary
from training.replayed import Replayed
from training.resumed import State, read_talker, with_words
from training.sizes import CODEBOOK, model_config, talker_config
from training.talker.coded import read_coded, read_vectors
from training.talker.columns import Batch, Batches, Rows, Utterance, build_sequences, paragraphs
from training.talker.guided import Guide
from training.talker.model import SpeechModel
from training.talker.subwords import LooseTokenizer, train_subwords
from training.timed import begin, elapsing, falling, leave_default_stream, training_options

HELD_OUT = 200  # texts that are only listened to
PARAGRAPH = 1_000  # characters; the engine cuts longer texts
WARM_UP = 300  # steps
AVERAGE = 0.999
MISREAD_COLUMNS, MISREAD_CODES = 0.1, 0.5  # share of columns that are touched, and of codes replaced there
LABEL_SMOOTHING = 0.02
PREDICTED = 1 / 3  # frames whose other codes are trained, for each column: they cost most of a step, and are many
DROPPED_MERGES = 0.05
GUIDE_WEIGHT = 0.1  # of how attention is guided, falling to 0 in `GUIDED` of the time; 1.0 drowns the rest
GUIDED = 0.4
CUT_OFF = 0.25  # share of the sequences from which frames are dropped


class Trainer:
    """Everything that a step changes."""

    def __init__(
        self,
        config: Json,
        device: torch.device,
        rate: float,
        batches: Batches,
        *,
        eager: bool = False,
        fused: bool = True,
    ) -> None:
        """`batches`: the training data, on `device`.

        `eager`: no CUDA graphs; not `fused`: nothing is compiled.
        """
        self.device, self.rate, self.steps, self.batches = device, rate, 0, batches
        self.model = SpeechModel(config).to(device)
        _initialise(self.model)
        self.kept = copy.deepcopy(self.model).eval()
        self._guide = Guide(self.model.talker)  # after the copy, which runs unwatched
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        vectors = [p for p in self.model.parameters() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
        self._rate = torch.tensor(rate, device=device)  # tensors, so that captured steps see them change
        self._pull = torch.tensor(GUIDE_WEIGHT, device=device)
        captured = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(groups, self._rate, (0.9, 0.95), fused=True, capturable=captured)
        self._update = Replayed(self._learn) if captured and not eager else self._learn
        if captured and fused:
            self.model.talker.model.fuse()
            self.model.talker.code_predictor.model.fuse()

    def step(self, rows: Rows, done: float) -> Tensor:
        """One update; `done` of the time has passed.

        Returns the losses (3,): codebook 0, the others, the guide's.
        """
        warmed = min(1.0, (self.steps + 1) / WARM_UP)
        self._rate.fill_(self.rate * warmed * falling(done, 0.02))
        self._pull.fill_(GUIDE_WEIGHT * max(0.0, 1 - done / GUIDED))
        losses = self._update(rows.length, rows.rows)
        self.steps += 1
        with torch.no_grad():
            average = min(AVERAGE, self.steps / (self.steps + 10))
            torch._foreach_lerp_([*self.kept.parameters()], [*self.model.parameters()], 1 - average)
        return losses

    def _learn(self, length: int, rows: Tensor) -> Tensor:
        batch = self.batches.batch(length, rows)
        frames = batch.some_frames(int(batch.speaks.numel() * PREDICTED))
        read = batch._replace(codes=dropped(misread(batch.codes)))
        losses, off_pace = self._losses(self.model, read, frames, LABEL_SMOOTHING), self._guide.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        (losses.sum() + self._pull * off_pace).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return torch.cat((losses, off_pace[None])).detach()

    @torch.no_grad()
    def heard(self, batches: Batches) -> tuple[float, float]:
        """Losses of the averaged model on held-out sequences."""
        held = [batches.batch(rows.length, rows.rows) for rows in batches.round(0)]
        parts = [self._losses(self.kept, batch, batch.frames(), 0.0) for batch in held]
        first, rest = torch.stack(parts).mean(0).tolist()
        return first, rest

    def save(self, path: Path, words: Vocabulary) -> None:
        """Averaged model in bf16, as served, with its vocabulary."""
        model = {name: tensor.bfloat16() for name, tensor in self.kept.state_dict().items()}
        torch.save({"model": model, "entries": words.entries, "merges": words.merges}, path)

    def load(self, state: State) -> None:
        """Go on from these weights; the optimizer starts anew."""
        for model in (self.model, self.kept):
            model.load_state_dict(state)

    def _losses(self, model: SpeechModel, batch: Batch, frames: tuple[Tensor, Tensor], smoothing: float) -> Tensor:
        places, spoken = frames
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            first, rest = model(batch.text, batch.codes, batch.vector, places, spoken.clamp(min=0))
        wanted = torch.where(spoken < 0, -100, spoken)[:, 1:]
        pairs = (first.flatten(0, 1), batch.first.flatten()), (rest.flatten(0, 1), wanted.flatten())
        return torch.stack([F.cross_entropy(said.float(), own, label_smoothing=smoothing) for said, own in pairs])


def misread(codes: Tensor) -> Tensor:
    """Codes (B, L, G), some in whole frames replaced randomly."""
    touched = (torch.rand(codes.shape[:2], device=codes.device) < MISREAD_COLUMNS) & (codes[..., -1] >= 0)
    replaced = touched[..., None] & (torch.rand(codes.shape, device=codes.device) < MISREAD_CODES)
    return torch.where(replaced, torch.randint_like(codes, CODEBOOK), codes)


def dropped(codes: Tensor) -> Tensor:
    """Codes (B, L, G) with whole frames absent.

    In `CUT_OFF` of the sequences any share of them, in the others none. What a model cannot go on from, it must read
    (as with the dropout of Tacotron's pre-net).
    """
    share = (1 - torch.rand(codes.shape[0], 1, device=codes.device) / CUT_OFF).clamp(min=0)
    gone = (torch.rand(codes.shape[:2], device=codes.device) < share) & (codes[..., -1] >= 0)
    return codes.masked_fill(gone[..., None], -1)


def mistold(utterances: Sequence[Utterance]) -> Iterator[Utterance]:
    """Utterances, each with the text of another, similarly long one.

    The last of an odd number is left out.
    """
    order = sorted(utterances, key=lambda said: len(said.text))
    for one, other in zip(order[::2], order[1::2], strict=False):
        yield one._replace(text=other.text)
        yield other._replace(text=one.text)


@torch.no_grad()
def _initialise(model: SpeechModel) -> None:
    """Small weights, large ones for the text.

    The text passes two maps before it is added to eight codes. With small ones all over, codes weigh 16 times as much
    as text: a talker then continues speech without reading.
    """
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0.0, 0.03)
    torch.nn.init.normal_(model.talker.model.text_embedding.weight)
    for layer in model.talker.text_projection.children():
        torch.nn.init.normal_(layer.weight, 0.0, layer.weight.shape[1] ** -0.5)


def split(utterances: Sequence[Utterance], seed: int) -> tuple[list[Utterance], list[Utterance]]:
    """Training utterances, then held-out ones.

    The texts of the latter are in no training utterance, whoever speaks them.
    """
    texts = sorted({said.text for said in utterances})
    held = set(random.Random(seed).sample(texts, min(HELD_OUT, len(texts) // 10)))
    learnt, unheard = ([u for u in utterances if (u.text in held) is out] for out in (False, True))
    return learnt, unheard


def main() -> None:
    """Train for a time, print losses, save at the end."""
    parser = training_options(__doc__, "coded", rate=1e-3)
    parser.add_argument("--columns", type=int, default=32_768)
    parser.add_argument("--unfused", dest="fused", action="store_false", help="compile nothing")
    parser.add_argument("--new-words", action="store_true", help="go on with a vocabulary learnt anew")
    options = parser.parse_args()
    device = begin(options.seed)
    utterances, vectors = read_coded(options.coded), read_vectors(options.coded)
    state, words = read_talker(options.resume) if options.resume else ({}, Vocabulary({}, []))
    if options.new_words or not options.resume:
        old, words = words, train_subwords(dict.fromkeys(u.text for u in utterances))
        state = with_words(state, old, words) if state else state
    config = talker_config(words.config_ids, words.rows)
    sizes = model_config(config)
    learnt, held = split(utterances, options.seed)
    learnt += paragraphs(learnt, len(learnt) // 16, PARAGRAPH, options.seed)
    built = [  # by other processes, so before there is anything on the GPU
        (build_sequences(sizes, tokenizer, part, 0.5, options.seed, vectors), columns)
        for part, tokenizer, columns in (
            (learnt, LooseTokenizer(words, DROPPED_MERGES), options.columns),
            (held, LooseTokenizer(words, 0.0), 8_192),
            (mistold(held), LooseTokenizer(words, 0.0), 8_192),
        )
    ]
    leave_default_stream(device)
    batches, unheard, wrong = (Batches(part.to(device), columns, sizes.codec.eos) for part, columns in built)
    trainer = Trainer(config, device, options.rate, batches, eager=options.eager, fused=options.fused)
    if state:
        trainer.load(state)
    print(f"{len(learnt)} utterances, {len(batches)} batches a round, {words.rows} text ids", flush=True)
    rounds = (rows for seed in itertools.count() for rows in batches.round(seed))
    for number, (done, rows) in enumerate(zip(elapsing(options.minutes), rounds, strict=False)):
        losses = trainer.step(rows, done)
        if number % 1000 == 0:
            (first, rest), (blind, _) = trainer.heard(unheard), trainer.heard(wrong)
            print(
                f"step {number}, round {number / len(batches):.1f}, {done:.0%}: loss {float(losses[0]):.3f} + "
                f"{float(losses[1]):.3f}, off pace {float(losses[2]):.3f}, unheard {first:.3f} + {rest:.3f}, "
                f"reads {blind - first:.2f}",
                flush=True,
            )
            trainer.save(options.out, words)
    print(f"{trainer.steps} steps", flush=True)
    trainer.save(options.out, words)


if __name__ == "__main__":
    main()
