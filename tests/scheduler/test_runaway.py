"""The runaway guard: silence after speech and circling codes end a speech, everything else goes on."""

import numpy as np
import pytest

from engine.api.events import FinishReason
from engine.api.request import Delivery, Sampling, SpeechRequest
from engine.scheduler.runaway import RunawayDetector
from tests.engine.drive import FLAVOURS, INCREMENTAL, Drive, Flavour
from tests.engine.fake_runner import Codes, FakeModel
from tests.engine.tiny import FRAME_SAMPLES, tiny_config

FRAMES = 125  # ten seconds
FRAME, PERIOD = 0.08, 25  # seconds, frames
LOUD, SILENT = (np.full(FRAME_SAMPLES, level, np.int16) for level in (-3_000, 60))


def different(number: int) -> Codes:
    return (number % 1_000, number)


def heard(
    guard: RunawayDetector, frames: list[Codes], audio: "np.ndarray[tuple[int], np.dtype[np.int16]]"
) -> int | None:
    """How many frames the guard lets pass, None for all."""
    return next((i for i, codes in enumerate(frames) if guard.update([codes], audio)), None)


def test_silence_counts_after_speech_alone() -> None:
    guard, frames = RunawayDetector(10.0, FRAME), [different(i) for i in range(300)]
    assert heard(guard, frames, SILENT) is None
    assert heard(guard, frames, LOUD) is None
    assert heard(guard, frames, SILENT) == FRAMES - 1


def test_a_pause_that_ends_is_no_runaway() -> None:
    guard = RunawayDetector(10.0, FRAME)
    for start in range(0, 1_000, 200):
        assert heard(guard, [different(start + i) for i in range(10)], LOUD) is None
        assert heard(guard, [different(start + i) for i in range(10, 10 + FRAMES - 1)], SILENT) is None


@pytest.mark.parametrize("circle", [[1], [1, 2], [1, 1, 2], [1, 2, 1, 3, 1, 1], list(range(PERIOD))])
def test_codes_in_a_circle(circle: list[int]) -> None:
    guard = RunawayDetector(10.0, FRAME)
    assert heard(guard, [different(i + 100) for i in range(50)], LOUD) is None
    stopped = heard(guard, [different(i) for i in circle] * 200, LOUD)
    assert stopped is not None and FRAMES <= stopped <= FRAMES + 2 * len(circle)


def test_a_circle_that_is_too_wide_or_broken_is_none() -> None:
    wide = [different(i) for i in range(PERIOD + 1)] * 20
    assert heard(RunawayDetector(10.0, FRAME), wide, LOUD) is None
    broken = ([different(1)] * (FRAMES - 1) + [different(2)]) * 4
    assert heard(RunawayDetector(10.0, FRAME), broken, LOUD) is None


def test_it_can_be_switched_off() -> None:
    assert heard(RunawayDetector(0, FRAME), [different(1)] * 1_000, LOUD) is None


class Stuck(FakeModel):
    """From frame 20 on the same frame for ever."""

    def frame(self, cells: object, seed: int, frame: int, seen: object, may_end: bool) -> Codes:
        return (frame if frame < 20 else 20, *[7] * (self.groups - 1))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_stuck_speech_ends_and_leaves_nothing(flavour: Flavour) -> None:
    drive = Drive(flavour)
    drive.device.model = Stuck(tiny_config())
    talk = drive.open(SpeechRequest(sampling=Sampling(max_frames=1_000), delivery=Delivery(text_mode=INCREMENTAL)))
    talk.say("It goes on and on.")
    drive.run()
    assert talk.end is FinishReason.GUARD
    assert FRAMES + 20 <= len(talk.codes) <= FRAMES + 20 + 24
    assert talk.lasts[-1]
    drive.idle()
