"""The streaming resampler: exact at seams, of exact length, never far behind its input, and a resampler at all."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qwentts_grpc.audio.resample import SAMPLE_RATES, Pcm, Resampler

RATES = pytest.mark.parametrize("rate", SAMPLE_RATES)


def whole(rate: int, pcm: Pcm) -> Pcm:
    resampler = Resampler(24_000, rate)
    return np.concatenate([resampler.process(pcm), resampler.finish()])


@RATES
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 31_207), max_size=40))
def test_output_does_not_depend_on_the_cuts(speech: Pcm, rate: int, cuts: list[int]) -> None:
    resampler = Resampler(24_000, rate)
    pieces = [resampler.process(piece) for piece in np.split(speech, sorted(cuts))]
    assert np.array_equal(np.concatenate([*pieces, resampler.finish()]), whole(rate, speech))


@RATES
@settings(max_examples=40, deadline=None)
@given(samples=st.integers(0, 30_000))
@example(samples=240)  # 220.5 at 22,050 Hz
def test_length_is_the_integer_nearest_to_the_input_times_the_ratio(rate: int, samples: int) -> None:
    assert abs(len(whole(rate, np.zeros(samples, np.int16))) * 24_000 - samples * rate) <= 12_000


@RATES
@pytest.mark.parametrize("frames", [1, 2, 13, 125])
def test_whole_codec_frames_have_a_whole_length_at_every_rate(rate: int, frames: int) -> None:
    assert len(whole(rate, np.zeros(1_920 * frames, np.int16))) * 25 == 2 * rate * frames


@pytest.mark.parametrize(
    ("rate", "most_ms"), [(8_000, 74), (16_000, 39), (22_050, 39), (24_000, 0), (44_100, 39), (48_000, 39)]
)
def test_output_trails_input_by_no_more_than_is_documented(rate: int, most_ms: float) -> None:
    resampler, given_out, behind = Resampler(24_000, rate), 0, []
    for step in range(1, 1_000):
        given_out += len(resampler.process(np.zeros(96, np.int16)))
        behind.append(step * 96 / 24_000 - given_out / rate)
    assert max(behind) * 1e3 <= most_ms


@RATES
def test_a_first_chunk_of_one_frame_gives_most_of_itself_at_once(speech: Pcm, rate: int) -> None:
    assert len(Resampler(24_000, rate).process(speech[:1_920])) / rate >= 0.061


@RATES
def test_a_tone_keeps_its_pitch_and_level_without_aliases(rate: int) -> None:
    time = np.arange(24_000) / 24_000
    out = whole(rate, np.rint(16_000 * np.sin(2 * np.pi * 1_000 * time)).astype(np.int16)).astype(float)
    expected = 16_000 * np.sin(2 * np.pi * 1_000 * np.arange(len(out)) / rate)
    middle = slice(rate // 10, -rate // 10)
    assert np.abs(out - expected)[middle].max() <= 1.5


def test_what_the_lower_rate_cannot_hold_is_filtered_out() -> None:
    time = np.arange(24_000) / 24_000
    out = whole(8_000, np.rint(16_000 * np.sin(2 * np.pi * 5_000 * time)).astype(np.int16))
    assert np.abs(out[800:-800]).max() <= 1


def test_overshoot_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(24_000) // 24 % 2, -32_768, 32_767).astype(np.int16)
    out = whole(48_000, square)
    assert out.max() == 32_767 and out.min() == -32_768
    assert (np.sign(out[12:-12:48]) == np.sign(square[6:-6:24])).all()
