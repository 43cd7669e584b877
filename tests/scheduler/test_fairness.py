"""A giant holds nobody up: neither a text of full length nor a long recording costs another speech a step."""

import numpy as np
import pytest

from engine.api.request import Delivery, Sampling, SpeechRequest
from engine.api.voice import Voice
from engine.prompt.splitter import TextSplitter
from engine.scheduler.batch import Batch, StepOutput
from tests.engine.drive import FLAVOURS, INCREMENTAL, WHOLE, Drive, Flavour, Talk

COLUMNS = 64  # of prompts in a step
LONG = ("This is a sentence of a text that takes an hour to speak. " * 1_100)[:60_000]


class Watched:
    """A device that keeps the batches it is given."""

    def __init__(self, drive: Drive) -> None:
        self._step = drive.device.step
        self.batches: list[Batch] = []
        drive.device.step = self.step  # type: ignore[method-assign]

    def step(self, batch: Batch) -> StepOutput:
        self.batches.append(batch)
        return self._step(batch)

    def columns(self) -> int:
        """The most prompt columns of one step."""
        return max(sum(len(work.tokens) for work in batch.prefills) for batch in self.batches)

    def longest_gap(self, slot: int) -> int:
        """The most steps from one frame of a slot to its next."""
        steps = [i for i, batch in enumerate(self.batches) if slot in {row.slot for row in batch.rows}]
        return int(np.diff(steps).max())


def small(drive: Drive, frames: int = 60) -> Talk:
    talk = drive.open(SpeechRequest(sampling=Sampling(max_frames=frames), delivery=Delivery(text_mode=INCREMENTAL)))
    talk.say("A short text, which is spoken for sixty frames.")
    return talk


def recorded(seconds: float) -> Voice:
    codes = np.random.default_rng(0).integers(0, 60, (round(seconds * 12.5), 16)).astype(np.int32)
    return Voice(embedding=np.zeros(8, np.float32), codes=codes, transcript="x")


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("giant", ["whole text", "one segment", "incremental text", "recording"])
def test_others_have_a_frame_in_every_step(flavour: Flavour, giant: str) -> None:
    drive = Drive(flavour, blocks=4_000, columns=COLUMNS)
    watched = Watched(drive)
    others = [small(drive), small(drive)]
    drive.steps(10)
    mode = INCREMENTAL if giant in ("incremental text", "recording") else WHOLE
    voice = recorded(30.0) if giant == "recording" else None
    request = SpeechRequest(sampling=Sampling(max_frames=3), delivery=Delivery(text_mode=mode))
    big = drive.open(request, voice=voice)
    if giant == "one segment":
        big.sequence.text.splitter = TextSplitter(0)
    big.sequence.text.append("Hello." if giant == "recording" else LONG[:6_000] if giant == "one segment" else LONG)
    big.sequence.text.end()
    slots = [talk.sequence.slot for talk in others]
    drive.run()
    assert big.codes and watched.columns() <= COLUMNS
    assert [watched.longest_gap(slot) for slot in slots if slot is not None] == [1, 1]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_short_prompt_is_read_before_the_rest_of_a_long_one(flavour: Flavour) -> None:
    drive = Drive(flavour, blocks=4_000, columns=COLUMNS)
    watched = Watched(drive)
    giant = drive.open(
        SpeechRequest(sampling=Sampling(max_frames=3), delivery=Delivery(text_mode=INCREMENTAL)), voice=recorded(30.0)
    )
    giant.say("Hello.")
    drive.steps(1)
    talk = small(drive, frames=5)
    drive.steps(1)
    assert watched.batches[1].rows, "the newcomer's first frame"
    assert {row.slot for row in watched.batches[1].rows} == {talk.sequence.slot}
    drive.run()
    assert len(giant.codes) == 3


def test_ten_newcomers_share_the_prompts_budget_in_order_of_arrival() -> None:
    drive = Drive("at once", slots=10, blocks=4_000, columns=COLUMNS)
    watched = Watched(drive)
    talks = [small(drive, frames=5) for _ in range(10)]
    drive.steps(10)
    starts = [
        next(i for i, batch in enumerate(watched.batches) if talk.sequence.slot in {row.slot for row in batch.rows})
        for talk in talks
        if talk.sequence.slot is not None
    ]
    assert starts == sorted(starts) and watched.columns() <= COLUMNS
    drive.run()
