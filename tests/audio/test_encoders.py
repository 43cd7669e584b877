"""Every encoding at every rate: seams that leave no trace, exact counts, and bytes that other decoders read."""

import io
import struct
import wave
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidRequest
from qwentts_grpc.audio.encoded import Encoded
from qwentts_grpc.audio.encoders import Encoding, make_encoder, sample_rates
from qwentts_grpc.audio.ogg import MAX_PACKETS
from qwentts_grpc.audio.resample import Pcm, Resampler

COMBINATIONS = [(encoding, rate) for encoding in Encoding for rate in sample_rates(encoding)]
EVERY = pytest.mark.parametrize(("encoding", "rate"), COMBINATIONS)
SILENT_HEAD = {Encoding.OGG_OPUS, Encoding.FLAC, Encoding.WAV}


def pieces(encoding: Encoding, rate: int, chunks: list[Pcm]) -> list[Encoded]:
    encoder = make_encoder(encoding, rate)
    return [*(encoder.encode(chunk) for chunk in chunks), encoder.finish()]


def joined(parts: list[Encoded]) -> bytes:
    return b"".join(part.data for part in parts)


def resampled(rate: int, pcm: Pcm) -> Pcm:
    resampler = Resampler(rate)
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
    if encoding is Encoding.OGG_OPUS:
        assert opus_packets(joined(split))[0] == opus_packets(joined(whole))[0]
    else:
        assert joined(split) == joined(whole)


@EVERY
def test_samples_add_up_to_the_length_of_the_turn(speech: Pcm, encoding: Encoding, rate: int) -> None:
    parts = pieces(encoding, rate, np.split(speech, range(1_920, len(speech), 1_920)))
    assert sum(part.samples for part in parts) == len(resampled(rate, speech))
    assert all(part.samples >= 0 for part in parts)
    assert all(bool(part.samples) == bool(part.data) for part in parts[:-1])


@EVERY
def test_audio_is_at_most_a_resampler_and_a_packet_behind(speech: Pcm, encoding: Encoding, rate: int) -> None:
    encoder, out = make_encoder(encoding, rate), 0
    resampler = {8_000: 0.074, 24_000: 0.0}.get(rate, 0.039)
    packet = {Encoding.OGG_OPUS: 0.0265, Encoding.FLAC: 0.020}.get(encoding, 0.0)
    for chunks, chunk in enumerate(np.split(speech, range(1_920, len(speech), 1_920))[:-1], start=1):
        out += encoder.encode(chunk).samples
        assert Fraction(chunks * 1_920, 24_000) - Fraction(out, rate) <= resampler + packet


@EVERY
def test_a_turn_without_audio_is_a_header_at_most(encoding: Encoding, rate: int) -> None:
    encoder = make_encoder(encoding, rate)
    assert encoder.encode(np.zeros(0, np.int16)) == Encoded(b"", 0)
    rest = encoder.finish()
    assert rest.samples == 0 and bool(rest.data) == (encoding in SILENT_HEAD)


@pytest.mark.parametrize("rate", sample_rates(Encoding.PCM_S16LE))
def test_pcm_and_floats_are_the_resampled_values(speech: Pcm, rate: int) -> None:
    expected = resampled(rate, speech)
    assert np.array_equal(np.frombuffer(joined(pieces(Encoding.PCM_S16LE, rate, [speech])), "<i2"), expected)
    floats = np.frombuffer(joined(pieces(Encoding.PCM_F32LE, rate, [speech])), "<f4")
    assert np.array_equal(floats * 32_768, expected) and np.abs(floats).max() <= 1


@pytest.mark.parametrize("rate", sample_rates(Encoding.FLAC))
def test_flac_is_lossless(speech: Pcm, rate: int) -> None:
    data, expected = joined(pieces(Encoding.FLAC, rate, np.split(speech, [1_920, 9_000]))), resampled(rate, speech)
    theirs, their_rate = decoded(data)
    assert their_rate == rate and np.array_equal(theirs, expected)


@pytest.mark.parametrize("rate", sample_rates(Encoding.WAV))
def test_wav_is_read_to_its_end_though_its_header_has_no_length(speech: Pcm, rate: int) -> None:
    data, expected = joined(pieces(Encoding.WAV, rate, [speech])), resampled(rate, speech)
    assert np.array_equal(data_of(data), expected)
    assert np.array_equal(soundfile.read(io.BytesIO(data), dtype="int16")[0], expected)
    theirs, their_rate = decoded(data)
    assert their_rate == rate and np.array_equal(theirs, expected)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)


def data_of(wav: bytes) -> npt.NDArray[np.int16]:
    assert wav[:4] == b"RIFF" and wav[4:8] == wav[40:44] == b"\xff" * 4 and wav[36:40] == b"data"
    return np.frombuffer(wav[44:], "<i2")


@pytest.mark.parametrize("rate", sample_rates(Encoding.OGG_OPUS))
def test_opus_decodes_to_the_same_length_and_nearly_the_same_sound(speech: Pcm, rate: int) -> None:
    data, expected = joined(pieces(Encoding.OGG_OPUS, rate, [speech])), resampled(rate, speech)
    sound, their_rate = soundfile.read(io.BytesIO(data))
    assert their_rate == rate and len(sound) == len(expected)
    error = sound * 32_768 - expected
    assert 10 * np.log10((expected.astype(float) ** 2).mean() / (error**2).mean()) > 10  # misaligned: about 0 dB


def test_opus_pages_are_numbered_timed_and_closed(speech: Pcm) -> None:
    parts = pieces(Encoding.OGG_OPUS, 24_000, np.split(speech, range(1_920, len(speech), 1_920)))
    packets, pages = opus_packets(joined(parts))
    assert packets[0].startswith(b"OpusHead") and packets[1].startswith(b"OpusTags")
    assert [number for _, _, number in pages] == list(range(len(pages)))
    assert [flags for flags, _, _ in pages] == [2] + [0] * (len(pages) - 2) + [4]
    pre_skip = int.from_bytes(packets[0][10:12], "little")
    ends = np.cumsum([part.samples for part in parts])
    assert [granule for _, granule, _ in pages[2:]] == [2 * end + pre_skip for end in ends]


def test_opus_of_a_long_chunk_spreads_over_pages() -> None:
    noise = np.random.default_rng(1).integers(-20_000, 20_000, 48_000).astype(np.int16)
    packets, pages = opus_packets(joined(pieces(Encoding.OGG_OPUS, 24_000, [noise])))
    assert len(packets) == 2 + 101 and len(pages) == 2 + -(-100 // MAX_PACKETS) + 1


def test_opus_of_nothing_is_a_closed_stream() -> None:
    packets, pages = opus_packets(make_encoder(Encoding.OGG_OPUS, 24_000).finish().data)
    assert len(packets) == 2 and [flags for flags, _, _ in pages] == [2, 0, 4]


@pytest.mark.parametrize(
    ("encoding", "rate"),
    [(Encoding.OGG_OPUS, 22_050), (Encoding.OGG_OPUS, 44_100), (Encoding.PCM_S16LE, 11_025), (Encoding.FLAC, -1)],
)
def test_a_rate_that_an_encoding_lacks_is_refused_by_name(encoding: Encoding, rate: int) -> None:
    with pytest.raises(InvalidRequest, match=str(rate)) as error:
        make_encoder(encoding, rate)
    assert error.value.field == "audio_format.sample_rate_hertz"
