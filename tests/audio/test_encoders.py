"""Every encoding at every rate: seams that leave no trace, exact counts, and bytes that other decoders read."""

import io
import re
import struct
import wave
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.errors import InvalidRequest
from qwentts_grpc.audio.encoded import Encoded
from qwentts_grpc.audio.encoders import ENCODINGS, Encoding, make_encoder
from qwentts_grpc.audio.ogg import MAX_PACKETS
from qwentts_grpc.audio.resample import Pcm, Resampler
from tests.audio.encodings import FLAC, OGG_OPUS, PCM_F32LE, PCM_S16LE, WAV

COMBINATIONS = [(encoding, rate) for encoding in ENCODINGS.values() for rate in encoding.sample_rates]
EVERY = pytest.mark.parametrize(("encoding", "rate"), COMBINATIONS)
NOTHING: Pcm = np.zeros(0, np.int16)
SILENT_HEAD = {OGG_OPUS, FLAC, WAV}


def pieces(encoding: Encoding, rate: int, chunks: list[Pcm], exact_ms: float | None = None) -> list[Encoded]:
    encoder = make_encoder(encoding, 24_000, rate, None if exact_ms is None else round(exact_ms * 1e6))
    frames = [frame for chunk in chunks for frame in encoder.encode(chunk)]
    return [*frames, *encoder.finish(NOTHING)]


def joined(parts: list[Encoded]) -> bytes:
    return b"".join(part.data for part in parts)


def resampled(rate: int, pcm: Pcm) -> Pcm:
    resampler = Resampler(24_000, rate)
    return np.concatenate([resampler.process(pcm), resampler.finish()])


def opus_packets(data: bytes) -> tuple[list[bytes], list[tuple[int, int, int]]]:
    """The packets of an Ogg stream, and (flags, granule, number) of its pages."""
    packets, pages, at = [], [], 0
    while at < len(data):
        magic, _, flags, granule, _, number, _, count = struct.unpack_from("<4sBBqIIIB", data, at)
        assert magic == b"OggS"
        lacing, at = data[at + 27 : at + 27 + count], at + 27 + count
        packet = b""
        for size in lacing:
            packet, at = packet + data[at : at + size], at + size
            if size < 255:
                packets.append(packet)
                packet = b""
        assert packet == b""
        pages.append((flags, granule, number))
    return packets, pages


def decoded(data: bytes) -> tuple[npt.NDArray[np.int16], int]:
    """By FFmpeg, which is not the library that `soundfile` uses."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        return np.concatenate(frames), container.streams.audio[0].rate


@EVERY
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 31_207), max_size=30))
def test_seams_leave_no_trace(speech: Pcm, encoding: Encoding, rate: int, cuts: list[int]) -> None:
    split = pieces(encoding, rate, np.split(speech, sorted(cuts)))
    whole = pieces(encoding, rate, [speech])
    assert sum(part.samples for part in split) == sum(part.samples for part in whole)
    if encoding is OGG_OPUS:
        assert opus_packets(joined(split))[0] == opus_packets(joined(whole))[0]
    else:
        assert joined(split) == joined(whole)


def in_frames(pcm: Pcm) -> list[Pcm]:
    """In codec frames, as the engine gives it."""
    return np.split(pcm, range(1_920, len(pcm), 1_920))


@EVERY
def test_samples_add_up_to_the_length_of_the_turn(speech: Pcm, encoding: Encoding, rate: int) -> None:
    parts = pieces(encoding, rate, in_frames(speech))
    assert sum(part.samples for part in parts) == len(resampled(rate, speech))
    assert all(part.samples > 0 and part.data for part in parts)


@EVERY
def test_frames_are_whole_multiples_of_20_ms(speech: Pcm, encoding: Encoding, rate: int) -> None:
    """At 24 kHz of 80 ms; an Opus stream is its look-ahead of 6.5 ms behind."""
    whole_frames = speech[: 1_920 * 16]
    *parts, last = pieces(encoding, rate, in_frames(whole_frames))
    samples = [part.samples for part in parts]
    delay = round(0.0065 * rate) if encoding is OGG_OPUS else 0
    samples[0] += delay
    unit = rate // (12.5 if rate == 24_000 else 50)
    assert [count % unit for count in samples] == [0] * len(samples)
    assert (last.samples - delay) % (rate // 50) == 0
    assert max(samples) <= 0.16 * rate


@EVERY
@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 60, 80, 100, 200, 1_000])
def test_frames_of_one_exact_length(speech: Pcm, encoding: Encoding, rate: int, milliseconds: int) -> None:
    """Whatever the chunks, and the bytes are those of frames as they come."""
    packets = encoding in (OGG_OPUS, FLAC)
    if milliseconds * rate % 1_000 or (packets and milliseconds % 20):
        with pytest.raises(InvalidRequest) as refused:
            make_encoder(encoding, 24_000, rate, milliseconds * 1_000_000)
        assert refused.value.field == "delivery.frame_duration"
        return
    length = milliseconds * rate // 1_000
    for cuts in (range(1_920, len(speech), 1_920), [1_920, 9_600, 32 * 960], []):
        *parts, last = pieces(encoding, rate, np.split(speech, cuts), milliseconds)
        samples = [part.samples for part in parts]
        if encoding is OGG_OPUS and samples:
            samples[0] += round(0.0065 * rate)
        assert samples == [length] * len(samples)
        assert 0 < last.samples <= length
        if encoding is OGG_OPUS:
            assert opus_packets(joined([*parts, last]))[0] == opus_packets(joined(pieces(encoding, rate, [speech])))[0]
        else:
            assert joined([*parts, last]) == joined(pieces(encoding, rate, [speech]))


@pytest.mark.parametrize(
    ("nanoseconds", "message"),
    [
        (0, r"0 s is not in [0.01 s, 1 s]"),
        (9_999_999, r"0.009999999 s is not in [0.01 s, 1 s]"),
        (1_000_000_001, r"is not in [0.01 s, 1 s]"),
        (20_000_001, r"20.000001 ms are no whole samples at 24000 Hz"),
        (12_500_000, ""),
        (1_000_000_000, ""),
    ],
)
def test_exact_lengths_have_bounds(nanoseconds: int, message: str) -> None:
    if message:
        with pytest.raises(InvalidRequest, match=re.escape(message)):
            make_encoder(PCM_S16LE, 24_000, 24_000, nanoseconds)
    else:
        make_encoder(PCM_S16LE, 24_000, 24_000, nanoseconds)


@EVERY
@pytest.mark.parametrize(("milliseconds", "at_once"), [(None, 60), (10, 60), (20, 60), (30, 60), (40, 40), (60, 60)])
def test_the_first_audio_is_there_with_the_first_codec_frame(
    speech: Pcm, encoding: Encoding, rate: int, milliseconds: int | None, at_once: int
) -> None:
    with suppress(InvalidRequest):
        encoder = make_encoder(encoding, 24_000, rate, milliseconds and milliseconds * 1_000_000)
        delay = 6.5 if encoding is OGG_OPUS else 0.0
        assert sum(frame.samples for frame in encoder.encode(speech[:1_920])) * 1_000 / rate >= at_once - delay


@EVERY
def test_the_end_of_a_segment_holds_no_audio_back(speech: Pcm, encoding: Encoding, rate: int) -> None:
    """Nobody who waits for more text lacks the end of what was said, and the whole is as long as its parts."""
    encoder, frames = make_encoder(encoding, 24_000, rate), list[Encoded]()
    delay = 0.0065 if encoding is OGG_OPUS else 0.0
    for segment in (1, 2, 3):
        for chunk in in_frames(speech[: 1_920 * 5]):
            frames += encoder.encode(chunk)
        frames += encoder.end_segment()
        assert sum(frame.samples for frame in frames) / rate == pytest.approx(0.4 * segment - delay)
        assert not encoder.holds
    frames += encoder.finish(NOTHING)
    assert sum(frame.samples for frame in frames) == 1.2 * rate
    if encoding in (PCM_S16LE, FLAC):
        segment_alone = resampled(rate, speech[: 1_920 * 5])
        heard = np.frombuffer(joined(frames), "<i2") if encoding is PCM_S16LE else decoded(joined(frames))[0]
        assert np.array_equal(heard, np.tile(segment_alone, 3))


@EVERY
def test_audio_is_at_most_a_resampler_and_a_packet_behind(speech: Pcm, encoding: Encoding, rate: int) -> None:
    encoder, out = make_encoder(encoding, 24_000, rate), 0
    resampler = {8_000: 0.074, 24_000: 0.0}.get(rate, 0.039)
    packet = 0.020 + (0.0065 if encoding is OGG_OPUS else 0.0)
    for chunks, chunk in enumerate(in_frames(speech)[:-1], start=1):
        out += sum(frame.samples for frame in encoder.encode(chunk))
        assert Fraction(chunks * 1_920, 24_000) - Fraction(out, rate) <= resampler + packet


@EVERY
def test_a_turn_without_audio_is_a_header_at_most(encoding: Encoding, rate: int) -> None:
    encoder = make_encoder(encoding, 24_000, rate)
    assert encoder.encode(NOTHING) == []
    (rest,) = encoder.finish(NOTHING)
    assert rest.samples == 0 and bool(rest.data) == (encoding in SILENT_HEAD)


@pytest.mark.parametrize("rate", PCM_S16LE.sample_rates)
def test_pcm_and_floats_are_the_resampled_values(speech: Pcm, rate: int) -> None:
    expected = resampled(rate, speech)
    assert np.array_equal(np.frombuffer(joined(pieces(PCM_S16LE, rate, [speech])), "<i2"), expected)
    floats = np.frombuffer(joined(pieces(PCM_F32LE, rate, [speech])), "<f4")
    assert np.array_equal(floats * 32_768, expected) and np.abs(floats).max() <= 1


@pytest.mark.parametrize("rate", FLAC.sample_rates)
def test_flac_is_lossless(speech: Pcm, rate: int) -> None:
    data, expected = joined(pieces(FLAC, rate, np.split(speech, [1_920, 9_000]))), resampled(rate, speech)
    theirs, their_rate = decoded(data)
    assert their_rate == rate and np.array_equal(theirs, expected)


@pytest.mark.parametrize("rate", WAV.sample_rates)
def test_wav_is_read_to_its_end_though_its_header_has_no_length(speech: Pcm, rate: int) -> None:
    data, expected = joined(pieces(WAV, rate, [speech])), resampled(rate, speech)
    assert np.array_equal(data_of(data), expected)
    assert np.array_equal(soundfile.read(io.BytesIO(data), dtype="int16")[0], expected)
    theirs, their_rate = decoded(data)
    assert their_rate == rate and np.array_equal(theirs, expected)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)


def data_of(wav: bytes) -> npt.NDArray[np.int16]:
    assert wav[:4] == b"RIFF" and wav[4:8] == wav[40:44] == b"\xff" * 4 and wav[36:40] == b"data"
    return np.frombuffer(wav[44:], "<i2")


@pytest.mark.parametrize("rate", OGG_OPUS.sample_rates)
def test_opus_decodes_to_the_same_length_and_nearly_the_same_sound(speech: Pcm, rate: int) -> None:
    data, expected = joined(pieces(OGG_OPUS, rate, [speech])), resampled(rate, speech)
    sound, their_rate = soundfile.read(io.BytesIO(data))
    assert their_rate == rate and len(sound) == len(expected)
    error = sound * 32_768 - expected
    assert 10 * np.log10((expected.astype(float) ** 2).mean() / (error**2).mean()) > 10  # misaligned: about 0 dB


def test_opus_pages_are_numbered_timed_and_closed(speech: Pcm) -> None:
    parts = pieces(OGG_OPUS, 24_000, in_frames(speech))
    packets, pages = opus_packets(joined(parts))
    assert packets[0].startswith(b"OpusHead") and packets[1].startswith(b"OpusTags")
    assert [number for _, _, number in pages] == list(range(len(pages)))
    assert [flags for flags, _, _ in pages] == [2] + [0] * (len(pages) - 2) + [4]
    pre_skip = int.from_bytes(packets[0][10:12], "little")
    ends = np.cumsum([part.samples for part in parts])
    assert [granule for _, granule, _ in pages[2:]] == [2 * end + pre_skip for end in ends]


def test_opus_of_a_long_chunk_spreads_over_pages() -> None:
    noise = np.random.default_rng(1).integers(-20_000, 20_000, 48_000).astype(np.int16)
    packets, pages = opus_packets(joined(pieces(OGG_OPUS, 24_000, [noise])))
    assert len(packets) == 2 + 101 and len(pages) == 2 + -(-100 // MAX_PACKETS) + 1


def test_opus_of_nothing_is_a_closed_stream() -> None:
    packets, pages = opus_packets(joined(pieces(OGG_OPUS, 24_000, [])))
    assert len(packets) == 2 and [flags for flags, _, _ in pages] == [2, 0, 4]


@pytest.mark.parametrize(
    ("encoding", "rate"),
    [(OGG_OPUS, 22_050), (OGG_OPUS, 44_100), (PCM_S16LE, 11_025), (FLAC, -1)],
)
def test_a_rate_that_an_encoding_lacks_is_refused_by_name(encoding: Encoding, rate: int) -> None:
    with pytest.raises(InvalidRequest, match=str(rate)) as error:
        make_encoder(encoding, 24_000, rate)
    assert error.value.field == "audio_format.sample_rate_hertz"
