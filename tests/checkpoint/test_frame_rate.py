"""A codec of another frame length: what is meant in seconds is reckoned in its frames, what is in frames stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.api.errors import CheckpointError
from engine.api.request import Delivery, SpeechRequest
from engine.build import build_engine
from engine.checkpoint.dummy import write_checkpoint
from engine.scheduler.playback import Playback
from engine.scheduler.runaway import RunawayDetector
from tests.engine.drive import FLAVOURS, INCREMENTAL, Drive, Flavour, check_whole
from tests.engine.tiny import tiny_config

FAST = replace(tiny_config(), frame_samples=960)
FRAME = 0.04  # seconds


def request(**delivery: float) -> SpeechRequest:
    return SpeechRequest(delivery=Delivery(text_mode=INCREMENTAL, **delivery))  # type: ignore[arg-type]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_pacing_holds_the_lead_in_seconds(flavour: Flavour) -> None:
    drive = Drive(flavour, config=FAST)
    talk = drive.open(request(max_lead=1.0), seed=4)
    talk.say("one two three four five six seven eight nine ten eleven twelve " * 3)
    began, most = drive.now, 0.0
    while talk.end is None and drive.now < 60:
        drive.step()
        most = max(most, talk.sequence.lead(drive.now))
        assert len(talk.codes) <= (1.0 + drive.now - began) / FRAME + 2
    assert 1.0 - FRAME <= most <= 1.0 + FRAME + 0.001
    assert drive.now - began >= len(talk.codes) * FRAME - 1.0 - 2 * FRAME
    check_whole(talk)


def test_chunks_are_counted_in_frames() -> None:
    drive = Drive("at once", config=FAST)
    talk = drive.open(request(first_chunk_frames=4, max_chunk_frames=8, max_lead=1e4), seed=4)
    talk.say("one two three four five six seven eight nine ten eleven twelve ")
    drive.run()
    assert talk.sizes[0] == 4 and max(talk.sizes) == 8
    check_whole(talk)


def test_the_cap_for_a_text_is_as_long_in_seconds() -> None:
    caps = []
    for config in (tiny_config(), FAST):
        talk = Drive("at once", config=config).open()
        talk.say("one two three")
        caps.append(talk.sequence.segment.cap * config.frame_seconds)
    assert caps[0] == pytest.approx(caps[1])


def test_the_guard_waits_as_many_seconds_and_finds_as_long_circles() -> None:
    silence, loud = np.zeros(960, np.int16), np.full(960, 3_000, np.int16)
    guard = RunawayDetector(1.0, FRAME)
    assert not guard.update([(1,)], loud)
    assert [guard.update([(i,)], silence) for i in range(2, 27)] == [False] * 24 + [True]
    circling = RunawayDetector(1.0, FRAME)
    assert any(circling.update([(i % 50,)], loud) for i in range(76))  # two seconds, and again
    assert not any(RunawayDetector(1.0, FRAME).update([(i % 51,)], loud) for i in range(51))


def test_playback_runs_dry_at_the_end_of_its_frames() -> None:
    playback = Playback(FRAME)
    playback.deliver(5, 10.0)
    assert playback.slack(10.0) == pytest.approx(0.2)
    assert playback.played(10.1) == pytest.approx(2.5)


@pytest.mark.asyncio
async def test_a_codec_that_encodes_another_rate_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "other", "0.6B-Base", codec_overrides={"input_sample_rate": 16_000})
    with pytest.raises(CheckpointError, match="encodes 16000 Hz"):
        await build_engine(str(folder))
