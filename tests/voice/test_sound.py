"""What becomes of the teacher's samples: the rate, the silence around, the loudness, the format."""

import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.recorded import Recorded
from training.sizes import FRAME_SAMPLES, SAMPLE_RATE
from training.teacher.disguise import PLAIN, POINTS, Disguise, disguised
from training.teacher.level import level
from training.teacher.resample import resample
from training.teacher.speakers import JOE, RATES, SPEAKERS, Speaker
from training.teacher.speech import cut
from training.teacher.teacher import Spoken


def tone(hertz: float, rate: float, seconds: float) -> Tensor:
    return torch.sin(torch.arange(int(rate * seconds), dtype=torch.float64) / rate * 2 * math.pi * hertz).float()[None]


@pytest.mark.parametrize("ratio", [Fraction(24_000, 22_050), Fraction(3, 2), Fraction(24_000 * 4, 22_050 * 5)])
def test_a_tone_stays_the_same_tone_at_another_rate(ratio: Fraction) -> None:
    result = resample(tone(1_000, 22_050, 0.5), ratio)
    assert result.shape[1] == math.ceil(11_025 * ratio)
    expected = tone(1_000, 22_050 * float(ratio), 0.6)[:, : result.shape[1]]
    inside = slice(200, result.shape[1] - 200)
    assert (result - expected)[:, inside].abs().max() < 1e-3


def test_what_the_lower_rate_cannot_carry_is_gone() -> None:
    assert resample(tone(10_000, 24_000, 0.5), Fraction(2, 3))[:, 200:-200].abs().max() < 1e-3


def test_loudness_and_silence_come_out_alike() -> None:
    quiet, loud = (torch.cat([torch.zeros(1, 9_600), tone(300, SAMPLE_RATE, 0.5) * size], 1) for size in (0.01, 0.9))
    waves = torch.cat([quiet, loud])
    result, starts, ends = level(waves, torch.tensor([waves.shape[1]] * 2))
    torch.testing.assert_close(result[0], result[1], rtol=0, atol=1e-5)
    assert starts.tolist() == [9_600 - 3_840] * 2
    assert ends.tolist() == [9_600 + 12_000 + 2_880] * 2
    assert float(result[0, 9_600:].square().mean().sqrt()) == pytest.approx(10 ** (-23 / 20), rel=1e-3)


def test_a_recording_is_cut_from_its_batch_with_its_silence() -> None:
    rate = RATES[JOE]
    waves = torch.zeros(2, rate)
    waves[0, : rate // 2] = tone(300, rate, 0.5)[0]
    waves[1, rate // 4 :] = tone(300, rate, 1)[0, : rate - rate // 4]
    said = Spoken(waves, torch.tensor([rate // 2, rate]), torch.zeros(2, 1))
    result = cut(said, Fraction(SAMPLE_RATE, rate), [PLAIN] * 2)
    assert result.frames.tolist() == [10, 13]  # 0.5 and 0.75 s, and 0.28 s of silence
    assert result.wave.dtype == torch.int16 and len(result.wave) == 23 * FRAME_SAMPLES
    first = result.wave[: 10 * FRAME_SAMPLES]
    assert first[:3_800].abs().max() < 100
    assert first[4_000:15_800].abs().max() > 2_000
    assert first[-2_600:].abs().max() < 100


@pytest.mark.parametrize("speaker", [*SPEAKERS[:2], SPEAKERS[40], SPEAKERS[150]], ids=lambda speaker: speaker.name)
def test_phonemes_stay_beside_their_sound(speaker: Speaker) -> None:
    hops = 120
    phones = (torch.arange(hops) >= 70).long()[None] + 3  # phoneme 3 is silence here, and 4 a tone
    wave = tone(500, RATES[speaker.family], 2.4)[:, : hops * 256] * (phones.repeat_interleave(256, 1) == 4)
    result = cut(Spoken(wave, torch.tensor([hops * 256]), phones), speaker.ratio, [PLAIN])
    loud = result.wave.float().view(-1, 480).abs().amax(1) > 1_000
    until = int(loud.nonzero().max()) + 1  # after the tone there is silence that no phoneme is said for
    assert ((result.phones == 4) == loud)[:until].float().mean() > 0.95


def test_speech_comes_back_from_its_file(tmp_path: Path) -> None:
    speech = Recorded(torch.arange(5_760).short(), torch.arange(12).byte(), torch.tensor([0, 1, 3]), ["a", "b"], [0, 1])
    speech.save(tmp_path / "speech.pt")
    back = Recorded.load(tmp_path / "speech.pt", torch.device("cpu"))
    for name in ("wave", "phones", "starts"):
        assert torch.equal(getattr(back, name), getattr(speech, name))
    assert (back.texts, back.speakers, back.frames) == (speech.texts, speech.speakers, 3)


def test_a_disguise_moves_resonances_and_leaves_pitch() -> None:
    noise = torch.randn(1, 48_000, generator=torch.Generator().manual_seed(0))
    pulses = (torch.arange(48_000) % 200 == 0).float()[None]  # 120 Hz
    spectrum = torch.fft.rfft(0.01 * noise + pulses)
    hertz = torch.arange(spectrum.shape[1]) / 2.0
    voice = torch.fft.irfft(spectrum * torch.exp(-(((hertz - 1_000) / 300) ** 2)))
    loud = (torch.fft.rfft(disguised(voice, [Disguise(1.3, (0.0,) * POINTS)])).abs()[0], torch.fft.rfft(voice).abs()[0])
    moved, before = (float((part.square() * hertz).sum() / part.square().sum()) for part in loud)
    assert 1_150 < moved < 1_400 and abs(before - 1_000) < 30
    lines = [set((part.topk(3).indices / 240).round(decimals=1).tolist()) for part in loud]
    assert all(line == round(line) for line in lines[0] | lines[1])  # harmonics of 120 Hz still
    torch.testing.assert_close(disguised(voice, [PLAIN]), voice)
