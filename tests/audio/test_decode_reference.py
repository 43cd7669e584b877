"""Reference recordings: any common file is read as librosa would, up to its last sound, and in bounded time."""

import io
import struct
import time
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.errors import InvalidRequest
from qwentts_grpc.audio.encoders import Encoding, make_encoder
from qwentts_grpc.audio.resample import Pcm
from qwentts_grpc.recordings.decode import Recording, decode_recording
from qwentts_grpc.wire.limits import RecordingLimits
from tests.audio.encodings import FLAC, OGG_OPUS, WAV

from .files import KINDS, Floats, by_libav, by_sndfile, id3, put, voice, wav


def clip(rate: int, seconds: float = 2.0, channels: int = 1) -> Floats:
    """Chirps, another pitch in each channel: (n, channels)."""
    at = np.arange(round(rate * seconds)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (200 + 90 * k + 150 * at) * at) for k in range(channels)], 1, dtype="f4")


file = by_sndfile


def decoded(data: bytes, max_seconds: float = 60.0) -> Recording:
    return decode_recording(data, RecordingLimits(max_seconds=max_seconds))


def decode_reference(data: bytes, max_seconds: float = 60.0) -> Floats:
    return decoded(data, max_seconds).samples


def refused(data: bytes, max_seconds: float = 60.0) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as error:
        decoded(data, max_seconds)
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


@pytest.mark.parametrize("encoding", [WAV, FLAC, OGG_OPUS])
def test_what_the_server_streams_is_a_reference_too(speech: Pcm, encoding: Encoding) -> None:
    for rate in encoding.sample_rates:
        encoder = make_encoder(encoding, 24_000, rate)
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


@pytest.mark.parametrize(("form", "hours"), [("FLAC", 2.0), ("OGG", 0.25)])
def test_a_small_file_that_unpacks_to_hours_costs_no_more_than_a_long_one(form: str, hours: float) -> None:
    bomb = silence(hours, form)
    assert len(bomb) < 5 * 2**20
    tracemalloc.start()
    start = time.process_time()
    error = refused(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.reason == "REFERENCE_DURATION"
    assert peak < len(bomb) + 6 * 60 * 8_000 * 4
    assert time.process_time() - start < 2.0


def test_seconds_rate_and_channels_are_limited_together() -> None:
    assert RecordingLimits().seconds_at(192_000, 8) == 15.0
    limits = RecordingLimits(samples=2 * 16_000 * 8)
    assert len(decode_recording(file(clip(16_000, 1.9, 8), 16_000, "FLAC"), limits).samples) == 1.9 * 24_000
    with pytest.raises(InvalidRequest, match="is longer than 2 s, the most with 8 channels at 16000 Hz") as error:
        decode_recording(file(clip(16_000, 2.1, 8), 16_000, "FLAC"), limits)
    assert error.value.reason == "REFERENCE_DURATION"


def test_bytes_channels_and_rates_are_limited() -> None:
    assert "bytes" in str(refused(bytes(10 * 2**20 + 1)))
    assert "channels" in str(refused(file(clip(8_000, channels=9), 8_000)))
    assert "Hz" in str(refused(file(clip(4_000), 4_000)))
    assert "Hz" in str(refused(file(clip(200_000), 200_000)))
    assert len(decode_reference(file(clip(8_000, channels=8), 8_000))) == 48_000


def likeness(one: Floats, other: Floats) -> float:
    """Their correlation, however much later one of them begins."""
    size = len(one) + len(other)
    spectrum = np.fft.rfft(one.astype("f8"), size) * np.conj(np.fft.rfft(other.astype("f8"), size))
    return float(np.fft.irfft(spectrum, size).max() / np.sqrt((one**2).sum() * (other**2).sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_common_kind_of_file_is_read(kind: str) -> None:
    make, rate, alike = KINDS[kind]
    heard, remarks = decoded(make(voice(3.0, rate)))
    source = voice(3.0)
    assert heard.dtype == np.float32 and remarks == ()
    assert abs(len(heard) - len(source)) < 0.07 * 24_000
    assert likeness(heard, source) > alike


@pytest.mark.parametrize("tags", [id3(), id3(zeros=64), id3(footer=True), id3() + id3(7, 3)])
@pytest.mark.parametrize("kind", ["mp3", "adts", "WAV PCM_16", "FLAC PCM_16", "AIFF PCM_16", "OGG VORBIS"])
def test_tags_in_front_of_any_container_are_skipped(kind: str, tags: bytes) -> None:
    make, rate, _ = KINDS[kind]
    data = make(voice(2.0, rate))
    assert np.array_equal(decode_reference(tags + data), decode_reference(data))


HUGE = 2**32 - 1
VOICE = voice(2.0)
LIST = b"LIST" + struct.pack("<I", 5) + b"INFOx"


@pytest.mark.parametrize(
    "data",
    [
        *(wav(VOICE, riff=size, data=size) for size in (0, HUGE, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000, 1_000)),
        *(wav(VOICE, riff=size) for size in (0, 36, HUGE)),
        *(wav(VOICE, data=size) for size in (0, 1_000, HUGE)),
        wav(VOICE, before=LIST + b"\0"),
        wav(VOICE, before=LIST),
        wav(VOICE, before=LIST + LIST),
        wav(VOICE, before=LIST, data=0),
        wav(VOICE, before=b"JUNK" + struct.pack("<I", 28) + bytes(28)),
        wav(VOICE, after=LIST + b"\0"),
        wav(VOICE, after=b"ID3\x04" + bytes(50)),
        wav(VOICE) + b"TAG" + b"x" * 125,
    ],
)
def test_a_wav_of_wrong_sizes_or_odd_chunks_is_read_to_the_end_of_its_data(data: bytes) -> None:
    heard, remarks = decoded(data)
    assert remarks == ()
    assert 0 <= len(heard) - len(VOICE) < 200
    assert np.abs(heard[: len(VOICE)] - VOICE).max() < 1e-4


def _patched(form: str, field: bytes, ahead: int, sizes: str, *values: int) -> list[bytes]:
    data = by_sndfile(VOICE, form=form)
    at = data.index(field) + ahead
    return [put(data, at, struct.pack(sizes, value)) for value in values]


@pytest.mark.parametrize(
    "data",
    [
        *_patched("AIFF", b"SSND", 4, ">I", 0, 1_000, HUGE),
        *_patched("AIFF", b"COMM", 10, ">I", 0, 1_000, HUGE),
        *_patched("RF64", b"ds64", 16, "<Q", 0, 1_000, 2**64 - 1),
        *_patched("W64", b"data", 16, "<Q", 0, 24, 1_000, 2**64 - 1),
        *_patched("AU", b".snd", 8, ">I", 0, 1_000, HUGE),
        *_patched("CAF", b"data", 4, ">q", 0, -1),
        *_patched("FLAC", b"fLaC", 22, ">I", 0, 1_000),
    ],
)
def test_wrong_sizes_in_other_containers(data: bytes) -> None:
    heard, remarks = decoded(data)
    assert remarks == () and abs(len(heard) - len(VOICE)) < 8


CUT = ("WAV PCM_16", "FLAC PCM_16", "AIFF PCM_16", "AU PCM_16", "CAF PCM_16", "W64 PCM_16", "RF64 PCM_16", "OGG VORBIS")


@pytest.mark.parametrize("kind", [*CUT, "OGG OPUS", "mp4 fragmented", "webm", "mkv flac", "mp3", "adts", "amr"])
def test_a_file_cut_short_is_read_to_where_it_ends(kind: str) -> None:
    make, rate, _ = KINDS[kind]
    data = make(voice(4.0, rate))
    heard = decode_reference(data[: len(data) * 6 // 10])
    assert 0.4 * 4 < len(heard) / 24_000 < 0.7 * 4
    assert likeness(heard, voice(4.0)[: len(heard)]) > (0.45 if kind == "amr" else 0.7)


@pytest.mark.parametrize("kind", ["WAV PCM_16", "FLAC PCM_16", "AIFF PCM_16", "W64 PCM_16", "mp4 fragmented"])
def test_what_is_known_to_be_cut_short_is_remarked(kind: str) -> None:
    make, rate, _ = KINDS[kind]
    data = make(voice(4.0, rate))
    assert ["cut short" in remark for remark in decoded(data[: len(data) // 2]).remarks] == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_which_next_to_nothing_is_left_is_refused(kind: str) -> None:
    make, rate, _ = KINDS[kind]
    data = make(voice(2.0, rate))
    for keep in (0, 3, 11, 40, 200, len(data) // 5):
        refused(data[:keep])


def test_what_cannot_be_decoded_is_left_out_with_a_remark() -> None:
    data = bytearray(by_sndfile(voice(6.0), form="FLAC"))
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(20)
    heard, remarks = decoded(bytes(data))
    assert 5.0 < len(heard) / 24_000 < 6.0 and ["damaged" in remark for remark in remarks] == [True]
    assert np.abs(heard).max() < 1.5 * np.abs(voice(6.0)).max()  # no noise in its place


def test_damage_everywhere_is_refused() -> None:
    data = bytearray(by_sndfile(voice(6.0), form="FLAC"))
    data[5_000::500] = b"?" * len(data[5_000::500])
    assert "damaged" in str(refused(bytes(data)))


def test_of_several_tracks_the_first_is_taken_with_a_remark() -> None:
    heard, remarks = decoded(by_libav(voice(2.0, 48_000), 48_000, "matroska", "libopus", tracks=3))
    assert len(heard) == 48_000 and remarks == ("has 3 tracks of sound: the first is taken",)


def test_a_video_without_sound_is_refused() -> None:
    silent = by_libav(voice(1.0, 48_000), 48_000, "mp4", "aac", tracks=0, picture="mpeg4")
    assert "no sound" in str(refused(silent))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"PK\x03\x04" + bytes(100),
        b"RIFF\x10\0\0\0AVI LIST" + bytes(100),
        b"ID3" + bytes(7),
        by_sndfile(VOICE, form="VOC"),
        by_sndfile(VOICE, endian="BIG"),
    ],
)
def test_what_is_no_recording_is_told_what_would_be(data: bytes) -> None:
    assert "WAV, FLAC, Ogg, MP3" in str(refused(data))


def test_a_codec_that_is_not_read_is_named() -> None:
    assert "g726" in str(refused(by_sndfile(voice(2.0, 8_000), 8_000, "WAV", "G721_32")))


@pytest.mark.parametrize("poison", [(np.nan, 0), (np.inf, 0), (np.inf, -np.inf), (3e38, 3e38), (1e30, 0), (9.0, 9.0)])
def test_samples_that_are_not_sound_are_refused(poison: tuple[float, float]) -> None:
    samples = clip(24_000, channels=2)
    samples[7_000] = poison
    assert "not finite" in str(refused(file(samples, 24_000, subtype="FLOAT")))


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
] + [KINDS[kind][0](voice(1.3, KINDS[kind][1])) for kind in ("m4a", "webm", "mp3", "AIFF PCM_16", "W64 PCM_16", "amr")]


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
