"""Reference recordings: what is heard equals librosa's, and whatever else comes is refused in bounded time."""

import io
import time
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidRequest
from qwentts_grpc.audio.decode import decode_reference
from qwentts_grpc.audio.encoders import Encoding, make_encoder, sample_rates
from qwentts_grpc.audio.resample import Pcm

Floats = npt.NDArray[np.float32]


def clip(rate: int, seconds: float = 2.0, channels: int = 1) -> Floats:
    """Chirps, another pitch in each channel: (n, channels)."""
    at = np.arange(round(rate * seconds)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (200 + 90 * k + 150 * at) * at) for k in range(channels)], 1, dtype="f4")


def file(samples: npt.NDArray[np.generic], rate: int, form: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def refused(data: bytes, **limits: float) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as error:
        decode_reference(data, **limits)  # type: ignore[arg-type]
    assert error.value.field == "reference.audio"
    return error.value


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_equals_librosa_to_the_bit(rate: int, channels: int) -> None:
    librosa = pytest.importorskip("librosa")
    data = file(clip(rate, 1.503, channels), rate)
    loaded, loaded_rate = librosa.load(io.BytesIO(data), sr=None)
    expected = librosa.resample(loaded, orig_sr=loaded_rate, target_sr=24_000)
    assert np.array_equal(decode_reference(data), expected)


@pytest.mark.parametrize(
    ("form", "subtype", "rate", "tolerance"),
    [
        ("WAV", "PCM_U8", 24_000, 1e-2), ("WAV", "PCM_16", 24_000, 1e-4), ("WAV", "PCM_24", 24_000, 1e-6),
        ("WAV", "FLOAT", 24_000, 0.0), ("WAV", "DOUBLE", 24_000, 0.0), ("WAV", "ULAW", 24_000, 2e-2),
        ("WAVEX", "PCM_16", 24_000, 1e-4), ("FLAC", "PCM_16", 24_000, 1e-4), ("FLAC", "PCM_24", 24_000, 1e-6),
        ("OGG", "VORBIS", 24_000, 5e-2), ("OGG", "OPUS", 24_000, 5e-2),
    ],
)  # fmt: skip
def test_each_container_gives_the_samples_that_went_in(form: str, subtype: str, rate: int, tolerance: float) -> None:
    source = clip(rate)[:, 0]
    heard = decode_reference(file(source, rate, form, subtype))
    assert heard.dtype == np.float32 and heard.shape == source.shape
    assert np.abs(heard - source)[1_000:-1_000].max() <= tolerance


def test_channels_are_averaged() -> None:
    stereo = clip(44_100, channels=2)
    mean = soxr.resample((stereo[:, 0] + stereo[:, 1]) / 2, 44_100, 24_000, "HQ")
    assert np.allclose(decode_reference(file(stereo, 44_100, subtype="FLOAT")), mean, atol=1e-6)


@pytest.mark.parametrize("encoding", [Encoding.WAV, Encoding.FLAC, Encoding.OGG_OPUS])
def test_what_the_server_streams_is_a_reference_too(speech: Pcm, encoding: Encoding) -> None:
    for rate in sample_rates(encoding):
        encoder = make_encoder(encoding, rate)
        heard = decode_reference(b"".join(frame.data for frame in encoder.finish(speech)))
        assert abs(len(heard) - len(speech)) <= 2


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_length_is_limited_on_both_sides(form: str) -> None:
    assert len(decode_reference(file(clip(16_000, 1.0), 16_000, form))) == 24_000
    assert len(decode_reference(file(clip(16_000, 3.0), 16_000, form), max_seconds=3.0)) == 72_000
    for seconds in (0.1, 0.5, 0.999):
        assert refused(file(clip(16_000, seconds), 16_000, form)).reason == "REFERENCE_DURATION"
    assert refused(file(clip(16_000, 3.001), 16_000, form), max_seconds=3.0).reason == "REFERENCE_DURATION"


def silence(hours: float, form: str) -> bytes:
    """At 8 kHz, written minute by minute: libsndfile's Vorbis encoder overflows its stack on a long write."""
    out, minute = io.BytesIO(), np.zeros(60 * 8_000, np.int16)
    with soundfile.SoundFile(out, "w", 8_000, 1, format=form) as target:
        for _ in range(round(60 * hours)):
            target.write(minute)
    return out.getvalue()


@pytest.mark.parametrize(("form", "hours"), [("FLAC", 2.0), ("OGG", 0.5)])
def test_a_small_file_that_unpacks_to_hours_costs_no_more_than_a_long_one(form: str, hours: float) -> None:
    bomb = silence(hours, form)
    assert len(bomb) < 5 * 2**20
    tracemalloc.start()
    start = time.perf_counter()
    error = refused(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.reason == "REFERENCE_DURATION"
    assert peak < len(bomb) + 6 * 60 * 8_000 * 4
    assert time.perf_counter() - start < 2.0


def test_bytes_channels_and_rates_are_limited() -> None:
    assert "bytes" in str(refused(bytes(10 * 2**20 + 1)))
    assert "channels" in str(refused(file(clip(8_000, channels=9), 8_000)))
    assert "Hz" in str(refused(file(clip(4_000), 4_000)))
    assert "Hz" in str(refused(file(clip(200_000), 200_000)))
    assert len(decode_reference(file(clip(8_000, channels=8), 8_000))) == 48_000


@pytest.mark.parametrize("form", ["AIFF", "AU", "CAF", "W64", "RF64", "MP3", "VOC"])
def test_other_containers_are_refused_before_a_decoder_sees_them(form: str) -> None:
    assert "WAV, FLAC or OGG" in str(refused(file(clip(24_000), 24_000, form)))


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_other_codecs_inside_a_wav_are_refused(subtype: str) -> None:
    assert subtype in str(refused(file(clip(8_000)[:, 0], 8_000, subtype=subtype)))


@pytest.mark.parametrize("poison", [(np.nan, 0), (np.inf, 0), (np.inf, -np.inf), (3e38, 3e38), (1e30, 0), (9.0, 9.0)])
def test_samples_that_are_not_sound_are_refused(poison: tuple[float, float]) -> None:
    samples = clip(24_000, channels=2)
    samples[7_000] = poison
    assert "not finite" in str(refused(file(samples, 24_000, subtype="FLOAT")))


@pytest.mark.parametrize(("form", "subtype"), [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_a_file_cut_short_is_refused(form: str, subtype: str | None) -> None:
    data = file(clip(24_000, 3.0), 24_000, form, subtype)
    for keep in (0, 3, 11, 40, len(data) // 2, len(data) - 100):
        assert refused(data[:keep]).reason == "FIELD_INVALID"


@settings(max_examples=150, deadline=None)
@given(
    magic=st.sampled_from([b"", b"fLaC", b"OggS\x00\x02", b"RIFF\xff\xff\xff\xffWAVEfmt "]),
    noise=st.binary(max_size=600),
)
def test_random_bytes_are_refused(magic: bytes, noise: bytes) -> None:
    refused(magic + noise)


DAMAGED = [
    file(clip(8_000, 1.2), 8_000, form, subtype)
    for form, subtype in [("WAV", None), ("WAV", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")]
]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), original=st.sampled_from(DAMAGED))
def test_damaged_files_are_refused_or_decoded_but_nothing_else(data: st.DataObject, original: bytes) -> None:
    damaged = bytearray(original)
    edits = st.tuples(st.integers(0, len(original) - 1) | st.integers(0, 90), st.integers(0, 255))
    for position, value in data.draw(st.lists(edits, min_size=1, max_size=12)):
        damaged[position] = value
    try:
        heard = decode_reference(bytes(damaged))
    except InvalidRequest as error:
        assert error.field == "reference.audio"
    else:
        assert np.isfinite(heard).all() and 24_000 <= len(heard) <= 60 * 24_000
