"""What is done to audio on the way: tempo of the same pitch, volume, six formats."""

import io
from typing import Any

import av
import numpy as np
import pytest

from qwentts_grpc.http.formats import FORMATS, RATE, Pipeline

CHUNK = 3_840  # bytes: 80 ms


def tone(seconds: float = 2.0, hertz: float = 220.0) -> bytes:
    return (8_000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype("<i2").tobytes()


def through(pipeline: Pipeline, pcm: bytes) -> list[bytes]:
    pipeline.open()
    pieces = [pipeline.process(pcm[start : start + CHUNK]) for start in range(0, len(pcm), CHUNK)]
    return [*pieces, pipeline.finish()]


def pitch(samples: np.ndarray) -> float:
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(np.fft.rfftfreq(len(middle), 1 / RATE)[spectrum.argmax()])


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.3, 2.0, 4.0])
def test_speed_keeps_the_pitch(speed: float) -> None:
    samples = np.frombuffer(b"".join(through(Pipeline("pcm", speed), tone())), "<i2")
    assert len(samples) / RATE == pytest.approx(2.0 / speed, abs=0.06)
    assert pitch(samples) == pytest.approx(220.0, rel=0.01)


def test_volume_is_a_clipped_factor() -> None:
    samples = {v: np.frombuffer(b"".join(through(Pipeline("pcm", volume=v), tone())), "<i2") for v in (0.5, 3.0)}
    assert [np.abs(found).max() for found in samples.values()] == pytest.approx([4_000, 24_000], abs=2)
    loud = np.frombuffer(b"".join(through(Pipeline("pcm", volume=3.0), (b"\x30\x75" * RATE))), "<i2")
    assert loud.max() == 32_767


def decoded(name: str, audio: bytes) -> np.ndarray:
    """Samples of a whole stream."""
    options: dict[str, Any] = {"format": "s16le", "options": {"sample_rate": str(RATE)}} if name == "pcm" else {}
    with av.open(io.BytesIO(audio), **options) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


@pytest.mark.parametrize("name", FORMATS)
def test_any_player_hears_the_same(name: str) -> None:
    pipeline = Pipeline(name, volume=0.999)  # by an encoder of our own in every format
    samples = decoded(name, b"".join(through(pipeline, tone())))
    assert len(samples) / RATE == pytest.approx(2.0, abs=0.12)
    assert pitch(samples) == pytest.approx(220.0, rel=0.01)
    assert np.abs(samples[RATE:]).max() == pytest.approx(8_000, rel=0.15)


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_come_with_the_audio(name: str) -> None:
    pieces = through(Pipeline(name, 1.1), tone())
    assert sum(map(len, pieces[:12])) > 0 and sum(map(bool, pieces)) > 10


@pytest.mark.parametrize("name", FORMATS)
def test_silence_of_no_length_is_no_error(name: str) -> None:
    for pipeline in (Pipeline(name), Pipeline(name, 2.0)):
        assert isinstance(through(pipeline, b"")[-1], bytes)
