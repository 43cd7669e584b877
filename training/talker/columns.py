"""Talker sequences: recordings in the engine's own prompt columns.

Prompts and codes are as in service. Every recording is there in both text modes. Some sequences hold several sentences
of one speaker, one after the other, because that is what a paragraph is, and what a clone's recording is with the text
after it. A built-in voice is mostly a row of the codec embedding; all others, and at times it too, are the vector of a
recording.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.api.request import TextMode
from engine.api.voice import Voice
from engine.checkpoint.config import ModelConfig
from engine.prompt import prompt_tokens
from engine.prompt.builder import PromptLayout
from engine.prompt.tokenizer import TextTokenizer
from engine.scheduler.segment import Segment

PART = 4_096  # utterances that one process takes at a time
BY_VECTOR = 0.15  # share of a built-in voice's prompts that name it by a recording's vector
LEAD = 1  # silent frames of a recording's start that are left out where the whole text is there before it
VECTOR = -2  # in `Sequences.codes`: the speaker's vector stands here
Codes = npt.NDArray[np.int16]  # (frames, groups)


class Utterance(NamedTuple):
    """A text, its speaker, its codes."""

    text: str
    speaker: int
    codes: Codes


class Places(NamedTuple):
    """Positions in each sequence, (S,) int64.

    The columns that predict frame 0 (`first`) and that hold the first token of the text (`told`), and how many such
    tokens follow each other there (`tokens`): the text's own, none of the prompt's.
    """

    first: Tensor
    told: Tensor
    tokens: Tensor


class Sequences(NamedTuple):
    """All columns end to end.

    text (N,) int16, codes (N, G) int16 with -1 where absent; starts (S + 1,) int64 of the sequences; `places` and
    `speakers` (S,) of each; vectors (speakers, R, K), R for each speaker. The last column of each predicts the end.
    """

    text: Tensor
    codes: Tensor
    starts: Tensor
    places: Places
    speakers: Tensor
    vectors: Tensor

    def to(self, device: torch.device) -> "Sequences":
        """On a device."""
        places = Places(*(part.to(device) for part in self.places))
        rest = (part.to(device) for part in (self.speakers, self.vectors))
        return Sequences(self.text.to(device), self.codes.to(device), self.starts.to(device), places, *rest)


class Batch(NamedTuple):
    """Sequences side by side, padded at their ends.

    Inputs text (B, L) and codes (B, L, G); `first` (B, L) the target of codebook 0, -100 where there is none;
    `following` (B, L, G) the codes of the next column; `speaks` (B, L) where these are a frame; `told` (B, L) the index
    of the text token that a column holds, -1 if none; `due` (B, L) the index of the token of its frame if all take as
    long; `vector` (B, K) of a recording of the speaker.
    """

    text: Tensor
    codes: Tensor
    first: Tensor
    following: Tensor
    speaks: Tensor
    told: Tensor
    due: Tensor
    vector: Tensor

    def frames(self) -> tuple[Tensor, Tensor]:
        """Columns (M,) that predict frames, with codes (M, G).

        Columns are counted over the flattened batch.
        """
        places = self.speaks.flatten().nonzero().squeeze(1)
        return places, self.following.flatten(0, 1)[places]

    def some_frames(self, count: int) -> tuple[Tensor, Tensor]:
        """Random `count` of `frames`, with codes -1 beyond them.

        Nothing waits for a GPU.
        """
        chance = torch.rand(self.speaks.numel(), device=self.speaks.device) + self.speaks.flatten()
        places = chance.topk(count, sorted=False).indices
        spoken = self.following.flatten(0, 1)[places]
        return places, torch.where(self.speaks.flatten()[places, None], spoken, -1)


class Rows(NamedTuple):
    """Sequences of a batch, (B,) int64, with their padded length."""

    rows: Tensor
    length: int


def build_sequences(
    config: ModelConfig,
    tokenizer: TextTokenizer,
    utterances: Iterable[Utterance],
    english: float,
    seed: int,
    vectors: Tensor | None = None,
) -> Sequences:
    """Sequences of the utterances, in both text modes.

    `english`: the share of prompts that name the language; the others leave it to the model. Without `vectors` there
    are built-in voices alone, always by their rows.
    """
    every = list(utterances)
    parts = [every[start : start + PART] for start in range(0, len(every), PART)]
    build = partial(_built, config, tokenizer, english, 0.0 if vectors is None else BY_VECTOR)
    seeds = range(seed, seed + len(parts))
    if len(parts) == 1:
        built = [build(parts[0], seed)]
    else:
        with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:  # before anything is on a GPU
            built = list(pool.map(build, parts, seeds))
    texts, codes, marks = (torch.from_numpy(np.concatenate(part)) for part in zip(*built, strict=True))
    lengths, speakers, *places = marks.unbind(1)
    if vectors is None:
        vectors = torch.zeros(int(speakers.max()) + 1, 1, config.talker.hidden)
    return Sequences(texts, codes, F.pad(lengths.cumsum(0), (1, 0)), Places(*places), speakers, vectors)


def _built(
    config: ModelConfig,
    tokenizer: TextTokenizer,
    english: float,
    by_vector: float,
    utterances: Iterable[Utterance],
    seed: int,
) -> tuple[npt.NDArray[np.int16], Codes, npt.NDArray[np.int64]]:
    """Text ids, codes, marks of sequences, each end to end.

    Marks (S, 5): length, speaker, then `Places`.
    """
    chance = random.Random(seed)
    texts, codes, marks = [], [], []
    for said in utterances:
        for mode in (TextMode.INCREMENTAL, TextMode.WHOLE):
            language = config.languages["english"] if chance.random() < english else None
            known = said.speaker < len(config.speakers) and chance.random() >= by_vector
            ids, table, places = _columns(config, tokenizer, said, mode, language, known)
            texts.append(ids)
            codes.append(table)
            marks.append((len(ids), said.speaker, *places))
    return np.concatenate(texts), np.concatenate(codes), np.array(marks)


def _columns(
    config: ModelConfig, tokenizer: TextTokenizer, said: Utterance, mode: TextMode, language: int | None, known: bool
) -> tuple[npt.NDArray[np.int16], Codes, tuple[int, int, int]]:
    """Text ids (L,), codes (L, G), `Places` of one utterance.

    They are those of an engine's segment. `known`: the speaker is named by a row.
    """
    voice = Voice(row=list(config.speakers.values())[said.speaker]) if known else Voice(embedding=_ANY)
    segment = Segment(PromptLayout(config, voice, mode, language), tokenizer, 0, 0)
    frames = said.codes[LEAD:] if mode is TextMode.WHOLE else said.codes
    segment.append(said.text)
    segment.end(None)
    segment.frames = [()] * len(frames)  # they come below, all at once
    assert segment.prefix is not None
    start = len(segment.prefix)
    columns = segment.inputs(0, start + 1 + len(frames))
    table = np.full((len(columns), config.code_groups), -1, np.int16)
    for line, column in enumerate(columns[: start + 1]):
        table[line, : len(column.codes)] = VECTOR if column.codes == prompt_tokens.VECTOR else column.codes
    table[start + 1 :] = frames
    told = start - segment.tokens - 1 if mode is TextMode.WHOLE else start  # end-of-text follows in either mode
    return np.array([column.text for column in columns], np.int16), table, (start, told, segment.tokens)


_ANY = np.zeros(1, np.float32)


def paragraphs(utterances: Sequence[Utterance], count: int, characters: int, seed: int) -> Iterator[Utterance]:
    """`count` sequences of several utterances of one speaker each.

    Up to `characters` long: mostly few, sometimes many.
    """
    chance = random.Random(seed)
    by_speaker = dict[int, list[Utterance]]()
    for said in utterances:
        by_speaker.setdefault(said.speaker, []).append(said)
    owners = [said.speaker for said in utterances]
    for _ in range(count):
        own, limit = by_speaker[chance.choice(owners)], characters * chance.random() ** 2
        parts = [chance.choice(own)]
        while sum(len(part.text) + 1 for part in parts) < limit:
            parts.append(chance.choice(own))
        codes = np.concatenate([part.codes for part in parts])
        yield Utterance(" ".join(part.text for part in parts), parts[0].speaker, codes)


class Batches:
    """Batches of about `columns` columns, in sequences of like length.

    The order is new in every round. Few lengths, and all batches of one length have as many rows: where sequences are
    left over, some come twice.
    """

    def __init__(self, sequences: Sequences, columns: int, end: int) -> None:
        """`end`: the id of the end of speech."""
        self._all, self._end = sequences, end
        lengths = (sequences.starts[1:] - sequences.starts[:-1]).tolist()
        by_length: dict[int, list[int]] = {}
        for number in sorted(range(len(lengths)), key=lengths.__getitem__):
            by_length.setdefault(rounded(lengths[number]), []).append(number)
        self._groups = [rows for length, own in by_length.items() for rows in self._grouped(length, own, columns)]

    def __len__(self) -> int:
        return len(self._groups)

    def round(self, seed: int) -> Iterator[Rows]:
        """Every sequence once."""
        order = list(self._groups)
        random.Random(seed).shuffle(order)
        yield from order

    def batch(self, length: int, rows: Tensor) -> Batch:
        """The sequences `rows` (B,), none longer than `length`."""
        starts, lengths = self._all.starts[rows], (self._all.starts[rows + 1] - self._all.starts[rows])
        steps = torch.arange(length, device=rows.device)
        inside = steps < lengths[:, None]
        places = (starts[:, None] + steps).clamp(max=len(self._all.text) - 1)
        text, codes = self._all.text[places].long(), self._all.codes[places].long()
        first, start, tokens = (part[rows][:, None] for part in self._all.places)
        speaks = inside & (steps >= first)
        last = steps == lengths[:, None] - 1
        following, told = codes.roll(-1, 1), steps - start
        frames = (lengths[:, None] - first - 1).clamp(min=1)
        return Batch(
            text.masked_fill(~inside, 0),
            codes.masked_fill(~inside[..., None], -1),
            torch.where(last, self._end, following[..., 0]).masked_fill(~speaks, -100),
            following,
            speaks & ~last,
            told.masked_fill((told < 0) | (told >= tokens), -1),
            (steps - first + 0.5) / frames * tokens - 0.5,
            self._vectors(rows),
        )

    def _vectors(self, rows: Tensor) -> Tensor:
        """Vector of each sequence's speaker, from a random recording."""
        vectors, speakers = self._all.vectors, self._all.speakers[rows]
        return vectors[speakers, torch.randint(vectors.shape[1], speakers.shape, device=rows.device)]

    def _grouped(self, length: int, own: list[int], columns: int) -> Iterator[Rows]:
        count = max(1, columns // length)
        for start in range(0, len(own), count):
            rows = [own[place % len(own)] for place in range(start, start + count)]
            yield Rows(torch.tensor(rows, device=self._all.text.device), length)


def rounded(length: int) -> int:
    """`length` rounded up, to one of eight sizes an octave."""
    step = max(16, (1 << (length - 1).bit_length()) // 8)
    return -(-length // step) * step
