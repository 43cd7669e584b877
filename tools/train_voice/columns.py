"""Recordings as the talker meets them in service: prompts and codes in the engine's own columns.

Every recording is there in both text modes. Some sequences hold several sentences of one speaker, one after the other,
because that is what a paragraph is.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.model.config import ModelConfig
from engine.request import TextMode
from engine.segment import Layout, Segment
from engine.tokenizer import TextTokenizer
from engine.voice import Voice

Codes = npt.NDArray[np.int16]  # (frames, groups)


class Utterance(NamedTuple):
    """A text, who says it, and how it sounds."""

    text: str
    speaker: int
    codes: Codes


@dataclass(frozen=True, slots=True)
class Sequences:
    """All columns end to end: text (N,) int16, codes (N, G) int16 with -1 where absent; starts (S + 1,) int64 of the
    sequences; first (S,) int64, the column in each that speaks frame 0. The last column of each speaks the end."""

    text: Tensor
    codes: Tensor
    starts: Tensor
    first: Tensor

    def to(self, device: torch.device) -> "Sequences":
        """On a device."""
        return Sequences(*(part.to(device) for part in (self.text, self.codes, self.starts, self.first)))


class Batch(NamedTuple):
    """Sequences side by side, padded at their ends: inputs text (B, L) and codes (B, L, G); `first` (B, L) what is
    codebook 0 next, -100 where nothing is to be learnt; `frames` (M,) the flat columns that speak a frame, and what:
    `spoken` (M, G)."""

    text: Tensor
    codes: Tensor
    first: Tensor
    frames: Tensor
    spoken: Tensor


def build_sequences(
    config: ModelConfig, tokenizer: TextTokenizer, utterances: Iterable[Utterance], english: float, seed: int
) -> Sequences:
    """`english`: the share of prompts that name the language; the others leave it to the model."""
    chance = random.Random(seed)
    texts, codes, first = [], [], []
    for said in utterances:
        for mode in (TextMode.INCREMENTAL, TextMode.WHOLE):
            language = config.languages["english"] if chance.random() < english else None
            ids, table, start = _columns(config, tokenizer, said, mode, language)
            texts.append(ids)
            codes.append(table)
            first.append(start)
    starts = np.cumsum([0, *map(len, texts)])
    return Sequences(
        torch.from_numpy(np.concatenate(texts)),
        torch.from_numpy(np.concatenate(codes)),
        torch.from_numpy(starts),
        torch.tensor(first),
    )


def _columns(
    config: ModelConfig, tokenizer: TextTokenizer, said: Utterance, mode: TextMode, language: int | None
) -> tuple[npt.NDArray[np.int16], Codes, int]:
    """Text ids (L,), codes (L, G) and the column of frame 0: what a segment of the engine makes of the utterance."""
    row = list(config.speakers.values())[said.speaker]
    segment = Segment(Layout(config, Voice(row=row), mode, language), tokenizer, 0, 0)
    segment.feed(said.text)
    segment.end(None)
    segment.frames = [()] * len(said.codes)  # they come below, all at once
    assert segment.prefix is not None
    start = len(segment.prefix)
    columns = segment.columns(0, start + 1 + len(said.codes))
    table = np.full((len(columns), config.code_groups), -1, np.int16)
    for line, column in enumerate(columns[: start + 1]):
        table[line, : len(column.codes)] = column.codes
    table[start + 1 :] = said.codes
    return np.array([column.text for column in columns], np.int16), table, start


def paragraphs(utterances: Sequence[Utterance], count: int, characters: int, seed: int) -> Iterator[Utterance]:
    """`count` sequences of several utterances of one speaker, up to `characters` long: mostly few, sometimes many."""
    chance = random.Random(seed)
    by_speaker = [[u for u in utterances if u.speaker == s] for s in sorted({u.speaker for u in utterances})]
    for _ in range(count):
        own, limit = chance.choice(by_speaker), characters * chance.random() ** 2
        parts = [chance.choice(own)]
        while sum(len(part.text) + 1 for part in parts) < limit:
            parts.append(chance.choice(own))
        codes = np.concatenate([part.codes for part in parts])
        yield Utterance(" ".join(part.text for part in parts), parts[0].speaker, codes)


class Batches:
    """Batches of about `columns` columns, of sequences of like length; a new order in every round."""

    def __init__(self, sequences: Sequences, columns: int, end: int) -> None:
        """`end`: the id that says that speech ends."""
        self._all, self._end = sequences, end
        lengths = (sequences.starts[1:] - sequences.starts[:-1]).tolist()
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        self._groups: list[list[int]] = [[]]
        for number in order:
            if self._groups[-1] and (len(self._groups[-1]) + 1) * lengths[number] > columns:
                self._groups.append([])
            self._groups[-1].append(number)

    def __len__(self) -> int:
        return len(self._groups)

    def round(self, seed: int) -> Iterator[Batch]:
        """Every sequence once."""
        order = list(range(len(self._groups)))
        random.Random(seed).shuffle(order)
        for number in order:
            yield self._batch(torch.tensor(self._groups[number], device=self._all.text.device))

    def _batch(self, rows: Tensor) -> Batch:
        starts, lengths = self._all.starts[rows], (self._all.starts[rows + 1] - self._all.starts[rows])
        steps = torch.arange(int(lengths.max()), device=rows.device)
        inside = steps < lengths[:, None]
        places = (starts[:, None] + steps).clamp(max=len(self._all.text) - 1)
        text, codes = self._all.text[places].long(), self._all.codes[places].long()
        speaks = inside & (steps >= self._all.first[rows][:, None])
        last = steps == lengths[:, None] - 1
        following = codes.roll(-1, 1)
        first = torch.where(last, self._end, following[..., 0]).masked_fill(~speaks, -100)
        frames = (speaks & ~last).flatten().nonzero().squeeze(1)
        return Batch(
            text.masked_fill(~inside, 0),
            codes.masked_fill(~inside[..., None], -1),
            first,
            frames,
            following.flatten(0, 1)[frames],
        )
