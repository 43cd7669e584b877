"""The streaming decoder equals the reference's one-shot decoder, whatever the split, the batch and the past."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.model.codec.decoder import CodecDecoder
from engine.model.codec.transformer import CodecTransformer
from engine.ops.codec import CodecState
from engine.runner.codec import CodecStage

CPU = torch.device("cpu")
ROUNDING = 1e-4  # of fp32; the reference itself is 2e-5 from its fp64 self
SAME = 1e-10  # of fp64
SLOTS = 4
SCRATCH = SLOTS


def random_codes(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 2048, (*shape, 16), generator=torch.Generator().manual_seed(seed))


def state_of(decoder: CodecDecoder) -> CodecState:
    return decoder.new_state(SLOTS, CPU, decoder.snake.frequency.dtype)


def decode(decoder: CodecDecoder, codes: Tensor, state: CodecState, slot: int, sizes: Sequence[int]) -> Tensor:
    """codes (T, 16) in one slot, in pieces of `sizes`, repeated as needed -> (T * 1920,)"""
    audio, start, turn = [], 0, 0
    while start < len(codes):
        piece = codes[None, start : start + sizes[turn % len(sizes)]]
        audio.append(decoder.forward(piece, state, torch.tensor([slot]))[0])
        start, turn = start + piece.shape[1], turn + 1
    return torch.cat(audio)


def one_shot(decoder: CodecDecoder, codes: Tensor) -> Tensor:
    return decode(decoder, codes, state_of(decoder), 0, [len(codes)])


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.mark.parity
@pytest.mark.parametrize("frames", [1, 2, 71, 72, 73, 300])
def test_one_shot_equals_the_reference(decoder: CodecDecoder, reference: Any, frames: int) -> None:
    codes = random_codes(frames, seed=frames)
    with torch.inference_mode():
        expected = reference.speech_tokenizer.model.decoder(codes.T[None])[0, 0]
    assert expected.abs().max() > 0.1
    assert distance(one_shot(decoder, codes), expected) <= ROUNDING


@pytest.mark.parametrize("sizes", [[1], [4], [7, 1, 30], [72, 71]], ids=str)
def test_any_split_gives_the_same_audio(exact: CodecDecoder, sizes: Sequence[int]) -> None:
    codes = random_codes(160)
    assert distance(decode(exact, codes, state_of(exact), 2, sizes), one_shot(exact, codes)) <= SAME


def test_a_split_in_fp32_differs_by_rounding(decoder: CodecDecoder) -> None:
    codes = random_codes(160)
    assert distance(decode(decoder, codes, state_of(decoder), 2, [1]), one_shot(decoder, codes)) <= ROUNDING


def test_streams_in_different_phases_do_not_touch_each_other(exact: CodecDecoder) -> None:
    streams = {0: random_codes(90, seed=1), 3: random_codes(40, seed=2), 1: random_codes(25, seed=3)}
    joins = {0: 0, 3: 20, 1: 65}
    state, heard = state_of(exact), {slot: list[Tensor]() for slot in streams}
    for frame in range(0, 90, 5):
        due = [s for s in streams if joins[s] <= frame < joins[s] + len(streams[s])]
        pieces = [streams[s][frame - joins[s] : frame - joins[s] + 5] for s in due] + [random_codes(5)] * 2
        audio = exact.forward(torch.stack(pieces), state, torch.tensor([*due, SCRATCH, SCRATCH]))
        for slot, row in zip(due, audio, strict=False):
            heard[slot].append(row)
    for slot, codes in streams.items():
        assert distance(torch.cat(heard[slot]), one_shot(exact, codes)) <= SAME


def test_attention_forgets_how_long_a_stream_has_been(exact: CodecDecoder) -> None:
    """What a stream hears depends on its last frames alone, not on how many there were before them."""
    transformer, fresh, tail = exact.transformer, exact.config.reach, 40
    x = torch.randn(1, 9000, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    late = attend(transformer, x, state_of(exact))[:, -tail:]
    expected = attend(transformer, x[:, -(fresh + tail) :], state_of(exact))[:, -tail:]
    assert distance(late, expected) <= SAME


def attend(transformer: CodecTransformer, x: Tensor, state: CodecState, size: int = 100) -> Tensor:
    outputs, rows = [], torch.tensor([1])
    for start in range(0, x.shape[1], size):
        outputs.append(transformer(x[:, start : start + size], state.rings, rows, torch.tensor([start])))
    return torch.cat(outputs, 1)


def test_reset_forgets_even_what_is_not_finite(exact: CodecDecoder) -> None:
    state, codes = state_of(exact), random_codes(10)
    state.tails[2].fill_(torch.nan)
    state.rings[:, 2].fill_(torch.nan)
    state.frames[2] = 500
    other = decode(exact, codes[:5], state, 1, [5])
    state.reset(torch.tensor([2]))
    assert distance(decode(exact, codes, state, 2, [10]), one_shot(exact, codes)) <= SAME
    audio = torch.cat((other, decode(exact, codes[5:], state, 1, [5])))
    assert distance(audio, one_shot(exact, codes)) <= SAME


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(("recorded", "past"), [(0, 0), (0, 1), (40, 0), (40, 7), (3, 300)])
def test_a_slot_goes_on_as_if_it_had_decoded_a_recording_and_its_past(
    exact: CodecDecoder, recorded: int, past: int, again: bool
) -> None:
    start = recorded + past
    codes = random_codes(start + 3)
    reference = codes[:recorded].int().numpy() if recorded else None
    stage = CodecStage(exact, SLOTS, CPU)
    if again and reference is not None:
        stage.restore(2, reference, [])
        stage.decode([2], random_codes(1, 2, seed=8))
        assert stage.is_primed(reference)
    stage.decode([1], random_codes(1, 2, seed=9))
    stage.reset(torch.tensor([1]))
    stage.restore(1, reference, codes[recorded:start].tolist())
    pcm = stage.decode([1], codes[None, start:])[0]
    expected = one_shot(exact, codes)[start * 1920 :] * 32767
    assert (pcm - expected).abs().max() <= 0.5 + SAME * 32767


def test_only_so_many_recordings_are_remembered(exact: CodecDecoder) -> None:
    recordings = [random_codes(3, seed=seed).int().numpy() for seed in range(3)]
    one = CodecStage(exact, SLOTS, CPU).prime(recordings[0]).bytes
    stage = CodecStage(exact, SLOTS, CPU, cache_bytes=2 * one)
    for recording in recordings:
        stage.prime(recording)
    assert [stage.is_primed(recording) for recording in recordings] == [False, True, True]


def test_what_one_scope_has_made_the_codec_remember_serves_no_other(exact: CodecDecoder) -> None:
    recording = random_codes(3).int().numpy()
    stage = CodecStage(exact, SLOTS, CPU)
    stage.prime(recording, "acme")
    assert [stage.is_primed(recording, scope) for scope in ("acme", "globex", "")] == [True, False, False]
    stage.restore(1, recording, [], "globex")
    assert stage.is_primed(recording, "globex")


def test_the_stage_gives_pcm16_rows(decoder: CodecDecoder) -> None:
    stage, codes = CodecStage(decoder, SLOTS, CPU), random_codes(2, 3)
    pcm = stage.decode([3, 0], codes)
    assert pcm.dtype == torch.int16 and pcm.shape == (2, 3 * 1920)
    stage.reset(torch.tensor([3]))
    assert torch.equal(stage.decode([3, 1], codes), pcm)


class NoHostReads(TorchDispatchMode):
    """Fails on operations whose result the host must wait for: they cannot be captured in a graph."""

    WAITS = frozenset({"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::masked_select"})

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        assert func.name().split(".")[0] not in self.WAITS
        return func(*args, **(kwargs or {}))


def test_a_call_never_reads_from_the_device(decoder: CodecDecoder) -> None:
    state, rows = state_of(decoder), torch.tensor([0, SCRATCH])
    with NoHostReads():  # type: ignore[no-untyped-call]
        decoder.forward(random_codes(2, 3), state, rows)
        with pytest.raises(AssertionError):
            rows[0].item()
