"""The schedule, against its formulas written out once more in another way and against known counts."""

import hashlib
import math
from itertools import pairwise

import pytest

from benchmarks.load.plan import MEASUREMENT, WARM_UP, Settings, plan
from benchmarks.load.prompts import Prompt, read_prompts
from benchmarks.load.schedule import arrivals, prompt_order


def gap(seed: int, phase: str, slot: int, rate: float) -> float:
    digest = hashlib.sha256(b"tts-bench/poisson/v1\x00%d\x00%s\x00%d" % (seed, phase.encode(), slot)).hexdigest()
    uniform = (int(digest[:16], 16) + 0.5) / 18446744073709551616
    return -math.log1p(-uniform) / rate


def test_gaps_follow_the_formula() -> None:
    times = arrivals(1, "measurement", 7.0, 3.0)
    expected = [gap(1, "measurement", slot, 7.0) for slot in range(len(times) + 1)]
    assert [after - before for before, after in pairwise([0.0, *times])] == pytest.approx(expected[:-1])
    assert times[-1] < 3.0 <= times[-1] + expected[-1]


def test_first_times_are_these() -> None:
    assert arrivals(0, "measurement", 1.0, 3.0) == pytest.approx(
        [0.2060862593, 0.3323230683, 1.5487242729, 1.8988723129]
    )


@pytest.mark.parametrize(("rate", "requests"), [(10.0, 267), (20.0, 509)])
def test_counts_are_those_of_published_runs(rate: float, requests: int) -> None:
    assert len(arrivals(0, "measurement", rate, 25.0)) == requests


def test_a_higher_rate_is_the_same_sequence_faster() -> None:
    slow, fast = arrivals(2, "warmup", 1.0, 40.0), arrivals(2, "warmup", 4.0, 10.0)
    assert fast == pytest.approx([time / 4 for time in slow])


def test_every_epoch_holds_every_prompt_in_an_order_of_its_own() -> None:
    ids = [str(number) for number in range(1, 8)]
    order = prompt_order(0, "measurement", ids, 21)
    epochs = [order[start : start + 7] for start in (0, 7, 14)]
    assert [sorted(epoch) for epoch in epochs] == [ids] * 3
    assert len(set(map(tuple, epochs))) == 3


def test_prompt_order_follows_the_formula() -> None:
    def key(name: str) -> str:
        return hashlib.sha256(b"tts-bench/prompt-order/v1\x002\x00warmup\x001\x00" + name.encode()).hexdigest()

    ids = ["a", "b", "c", "d", "e"]
    assert prompt_order(2, "warmup", ids, 10)[5:] == sorted(ids, key=key)


def test_a_plan_measures_right_behind_its_warm_up() -> None:
    settings = Settings("nowhere", seconds=4.0, warm_up=2.0)
    planned = plan(settings, 5.0, 0, [Prompt("1", "one", 3), Prompt("2", "two", 4)])
    dues = {phase: [item.due for item in planned if item.phase == phase] for phase in (WARM_UP, MEASUREMENT)}
    assert dues[WARM_UP] == arrivals(0, "warmup", 5.0, 2.0)
    assert dues[MEASUREMENT] == pytest.approx([2.0 + time for time in arrivals(0, "measurement", 5.0, 4.0)])
    assert sorted({item.prompt.id for item in planned}) == ["1", "2"]


def test_built_in_texts_last_five_seconds_on_average() -> None:
    prompts = read_prompts()
    assert len({prompt.text for prompt in prompts}) == len(prompts) == 60
    assert sum(prompt.frames for prompt in prompts) / len(prompts) == pytest.approx(62, abs=1)
