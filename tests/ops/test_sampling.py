"""Sampling on a CPU: against a slow definition, in distribution, and addressed randomness against published words."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.ops.base import SamplingTensors
from engine.ops.philox import philox, uniforms
from engine.ops.reference import ReferenceOps

OPS = ReferenceOps()
WIDTH = 24


@dataclass(frozen=True)
class Knobs:
    """Sampling parameters of one row."""

    temperature: float
    top_k: int
    top_p: float
    uniform: float


def picks(rows: list[Knobs]) -> SamplingTensors:
    return SamplingTensors(
        torch.tensor([row.temperature for row in rows]),
        torch.tensor([row.top_k for row in rows], dtype=torch.int32),
        torch.tensor([row.top_p for row in rows]),
        torch.tensor([row.uniform for row in rows]),
    )


def probabilities(logits: list[float], knobs: Knobs) -> list[float]:
    """What each id may be drawn with: temperature, top-k, top-p, each by its definition."""
    scores = [logit / knobs.temperature for logit in logits]
    if 0 < knobs.top_k < len(scores):
        kth = sorted(scores, reverse=True)[knobs.top_k - 1]
        scores = [score if score >= kth else -math.inf for score in scores]
    if knobs.top_p < 1:
        order = sorted(range(len(scores)), key=lambda i: scores[i])
        below = 0.0
        weights = softmax(scores)
        for i in order[:-1]:
            below += weights[i]
            clear(below - (1 - knobs.top_p))
            if below <= 1 - knobs.top_p:
                scores[i] = -math.inf
    return softmax(scores)


def clear(margin: float) -> None:
    """Give up on an example that is too close to call in single precision."""
    if abs(margin) < 1e-5:
        reject()


def softmax(scores: list[float]) -> list[float]:
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    return [weight / sum(weights) for weight in weights]


def plainly(logits: list[float], knobs: Knobs) -> int:
    if knobs.temperature == 0:
        return logits.index(max(logits))
    reached = 0.0
    chances = probabilities(logits, knobs)
    for i, chance in enumerate(chances):
        reached += chance
        clear(reached - knobs.uniform if chance else 1.0)
        if reached >= knobs.uniform and chance > 0:
            return i
    return max(i for i, chance in enumerate(chances) if chance > 0)


distinct = st.lists(st.integers(-400, 400), min_size=WIDTH, max_size=WIDTH, unique=True).map(
    lambda values: [value / 64 for value in values]
)
tied = st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0]), min_size=WIDTH, max_size=WIDTH).filter(
    lambda values: max(values) > -math.inf
)
temperatures = st.sampled_from([0.0, 0.3, 0.9, 1.0, 2.0])
top_ks = st.sampled_from([0, 1, 2, 5, WIDTH - 1, WIDTH, 1_000_000])
drawn_numbers = st.floats(2**-20, 1 - 2**-20, width=32)
rows = st.tuples(
    distinct,
    st.builds(Knobs, temperatures, top_ks, st.sampled_from([1.0, 0.95, 0.5, 0.01]), drawn_numbers),
) | st.tuples(tied, st.builds(Knobs, temperatures, top_ks, st.just(1.0), drawn_numbers))


@settings(max_examples=300, deadline=None)
@given(st.lists(rows, min_size=1, max_size=5))
def test_a_draw_is_what_the_definition_says(batch: list[tuple[list[float], Knobs]]) -> None:
    logits, knobs = [row for row, _ in batch], [knobs for _, knobs in batch]
    drawn = OPS.sample(torch.tensor(logits), picks(knobs)).tolist()
    assert drawn == [plainly(*row) for row in batch]


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=2, max_size=5))
def test_a_row_does_not_see_the_others(batch: list[tuple[list[float], Knobs]]) -> None:
    logits, knobs = torch.tensor([row for row, _ in batch]), picks([knobs for _, knobs in batch])
    together = OPS.sample(logits, knobs)
    for i, (row, own) in enumerate(batch):
        assert OPS.sample(torch.tensor([row]), picks([own])).item() == together[i].item()


@pytest.mark.parametrize(("top_k", "top_p", "lowest"), [(0, 1.0, 5), (3, 1.0, 5), (2, 1.0, 900), (0, 0.6, 900)])
def test_the_ends_of_the_range_draw_what_is_possible(top_k: int, top_p: float, lowest: int) -> None:
    logits = torch.full((2, 2048), -math.inf)
    logits[:, [5, 900, 2000]] = torch.tensor([1.0, 1.1, 1.2])
    drawn = OPS.sample(logits, picks([Knobs(0.9, top_k, top_p, uniform) for uniform in (2.0**-25, 1.0)]))
    assert drawn.tolist() == [lowest, 2000]


def test_values_that_are_not_finite_stay_inside_the_row() -> None:
    logits = torch.full((2, WIDTH), math.nan)
    logits[1] = torch.arange(WIDTH)
    drawn = OPS.sample(logits, picks([Knobs(0.9, 5, 0.9, 0.5), Knobs(0.9, 1, 1.0, 0.5)])).tolist()
    assert 0 <= drawn[0] < WIDTH
    assert drawn[1] == WIDTH - 1


@pytest.mark.parametrize(
    "knobs", [Knobs(0.9, 0, 1.0, 0), Knobs(1.3, 6, 1.0, 0), Knobs(0.9, 0, 0.8, 0)], ids=["plain", "top-k", "top-p"]
)
def test_ids_are_drawn_in_proportion(knobs: Knobs) -> None:
    count = 40_000
    logits = torch.randn(WIDTH, generator=torch.Generator().manual_seed(3)) * 1.5
    expected = np.array(probabilities(logits.tolist(), knobs))
    uniform = uniforms(torch.full((count,), 7), torch.arange(count), 1)[:, 0]
    settings_of = [torch.full((count,), value) for value in (knobs.temperature, knobs.top_k, knobs.top_p)]
    drawn = OPS.sample(
        logits.expand(count, -1), SamplingTensors(settings_of[0], settings_of[1].int(), settings_of[2], uniform)
    )
    counts = np.bincount(drawn.numpy(), minlength=WIDTH)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    chi_square = ((counts - count * expected)[possible] ** 2 / (count * expected)[possible]).sum()
    assert chi_square < possible.sum() - 1 + 5 * math.sqrt(2 * possible.sum())


def first(scores: Tensor, knobs: list[Knobs], *, penalty: float, seen: Tensor, may_end: list[bool]) -> list[int]:
    """Codebook 0 over ids 0...WIDTH-1, the last being the end and the two before it forbidden."""
    allowed = torch.ones(WIDTH, dtype=torch.bool)
    allowed[-3:-1] = False
    drawn = OPS.sample_talker(
        scores,
        picks(knobs),
        torch.full((len(scores),), penalty),
        seen,
        torch.arange(len(scores)),
        torch.tensor(may_end),
        allowed,
        WIDTH - 1,
    )
    return drawn.tolist()


GREEDY = Knobs(0.0, 0, 1.0, 0.5)


def test_the_repetition_penalty_lowers_what_was_said_whatever_its_sign() -> None:
    scores = torch.full((2, WIDTH), -9.0)
    scores[0, [3, 4]] = torch.tensor([2.0, 1.9])
    scores[1, [3, 4]] = torch.tensor([-1.0, -1.05])
    seen = torch.zeros(2, WIDTH, dtype=torch.bool)
    assert first(scores, [GREEDY] * 2, penalty=1.2, seen=seen, may_end=[True] * 2) == [3, 3]
    assert seen.nonzero().tolist() == [[0, 3], [1, 3]]
    assert first(scores, [GREEDY] * 2, penalty=1.2, seen=seen, may_end=[True] * 2) == [4, 4]
    assert first(scores, [GREEDY] * 2, penalty=1.0, seen=seen, may_end=[True] * 2) == [3, 3]


@pytest.mark.parametrize("knobs", [GREEDY, Knobs(0.9, 2, 1.0, 0.999)])
def test_control_ids_are_never_said_and_the_end_only_where_it_may(knobs: Knobs) -> None:
    scores = torch.zeros(2, WIDTH)
    scores[:, -3:] = 50.0
    scores[:, 7] = 20.0
    seen = torch.zeros(2, WIDTH, dtype=torch.bool)
    assert first(scores, [knobs] * 2, penalty=1.0, seen=seen, may_end=[True, False]) == [WIDTH - 1, 7]


def test_philox_gives_the_published_words() -> None:
    """The known answers that the authors ship with their library, for Philox 4x32-10."""
    ones = 0xFFFFFFFF
    known = [
        ((0, 0), (0, 0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ones, ones), (ones,) * 4, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ]
    for (low, high), counter, words in known:
        key = high << 32 | low
        seeds = torch.tensor([key - (1 << 64) if key >= 1 << 63 else key])
        drawn = philox(seeds, torch.tensor(counter).view(4, 1, 1)).flatten().tolist()
        assert " ".join(f"{word:08x}" for word in drawn) == words


def test_randomness_is_addressed_by_seed_frame_and_codebook_alone() -> None:
    seeds = torch.tensor([0, 1, -1, 1 << 40])
    frames = torch.tensor([0, 5, 5, 1_000_000])
    together = uniforms(seeds, frames, 16)
    for row in range(4):
        alone = uniforms(seeds[row : row + 1], frames[row : row + 1], 3)
        assert torch.equal(alone[0], together[row, :3])
    assert together.unique().numel() == together.numel()
    assert together.min() > 0
    first_word = 0x6627E8D5
    assert together[0, 0] == ((first_word >> 8) + 0.5) / 2**24
