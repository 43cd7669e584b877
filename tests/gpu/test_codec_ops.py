"""The fused codec decoder against the plain one: any split, phases and tile; at full size its signal to noise."""

import os

import pytest
import torch
from torch import Tensor

from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.dummy.configs import codec_config, merged
from engine.checkpoint.dummy.weights import codec_weights
from engine.checkpoint.tensors import under
from engine.model.codec.decoder import CodecDecoder
from engine.ops.triton.codec.tiles import UNIT, Tile, unit_tile

pytest.importorskip("triton")
from engine.ops.triton.codec.decoder import FusedCodecDecoder
from engine.ops.triton.codec.ops import CodecOps, Conv, History, Snake, Streams, Unit
from engine.ops.triton.codec.packing import DEPTHS
from tools.codec.calls import Call
from tools.codec.check import copied
from tools.codec.exact import LEAST, decibels, ratio

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not (torch.cuda.is_available() or INTERPRETED), reason="needs a CUDA device"),
]
DEVICE = "cpu" if INTERPRETED else "cuda"
SLOTS = 4
SMALL = {  # the narrowest that the kernels take, and 64 samples a frame
    "decoder_config": {
        "latent_dim": 64,
        "hidden_size": 64,
        "intermediate_size": 64,
        "decoder_dim": 512,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_hidden_layers": 2,
        "sliding_window": 6,
        "upsample_rates": [2, 2, 2, 2],
    }
}
OTHER = {  # units of columns 32 + 16 and 64 + 32, depths that no tile divides, attention over more than one chunk
    "decoder_config": {
        "latent_dim": 128,
        "hidden_size": 192,
        "intermediate_size": 128,
        "decoder_dim": 768,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "sliding_window": 20,
    }
}
UNIT_TILES = [(channels, tile) for (channels, _), tiles in UNIT.items() for _, tile in tiles]
GUESSED_TILES = [(channels, unit_tile(1, channels)) for channels in (32, 48, 80, 128, 144, 160)]
UNIT_STEPS = [(3, 10)] if INTERPRETED else [(1, 5), (3, 10), (4, 160), (3, 2000)]  # streams and positions of each
# Random and narrow layers multiply rounding errors; in fp32, exact in the interpreter alone, hardly any are left.
PRECISIONS = [(torch.float16, 30.0), (torch.float32, 90.0)] if INTERPRETED else [(torch.float16, 30.0)]
FIRST, LATER = [([0, 2], 1), ([1], 2), ([2, 1, 0], 1)], [([0, 1], 12), ([0], 16), ([0, 2], 3), ([1, 0], 1)]


class Pair:
    """Both decoders over the same weights, each with its state."""

    def __init__(self, json: dict[str, object], dtype: torch.dtype = torch.float16) -> None:
        config = CodecDecoderConfig.from_json(json["decoder_config"])  # type: ignore[arg-type]
        weights = under(codec_weights(json, seed=0, device=torch.device("cpu")), "decoder")
        self.plain = CodecDecoder(config, weights)
        self.fused = FusedCodecDecoder(config, {name: tensor.to(DEVICE) for name, tensor in weights.items()}, dtype)
        self.plain_state = self.plain.new_state(SLOTS, "cpu", torch.float32)
        self.state = self.fused.new_state(SLOTS, DEVICE, dtype)

    def decode(self, rows: list[int], codes: Tensor) -> tuple[Tensor, Tensor]:
        """(fused, plain) audio of the next frames."""
        slots = torch.tensor(rows)
        wanted = self.plain.forward(codes, self.plain_state, slots)
        return self.fused.forward(codes.to(DEVICE), self.state, slots.to(DEVICE)).cpu(), wanted


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def pair() -> Pair:
    return Pair(merged(codec_config("tiny"), SMALL))


def drawn(rows: int, frames: int) -> Tensor:
    return torch.randint(0, 2048, (rows, frames, 16))


@pytest.mark.parametrize(("dtype", "least"), PRECISIONS)
def test_any_split_and_phase_equals_the_plain_decoder(dtype: torch.dtype, least: float) -> None:
    check_splits(Pair(merged(codec_config("tiny"), SMALL), dtype), least)


def test_other_sizes_that_fit_equal_the_plain_decoder() -> None:
    dtype, least = PRECISIONS[-1]
    check_splits(Pair(merged(codec_config("tiny"), merged(SMALL, OTHER)), dtype), least)


def check_splits(pair: Pair, least: float) -> None:
    """Decode frames of several streams in several splits with both."""
    for rows, frames in FIRST + LATER:
        ratio = decibels(*pair.decode(rows, drawn(len(rows), frames)))
        print(f"rows {rows}, {frames} frames: {ratio:.1f} dB")
        assert ratio > least
    assert pair.state.frames[:3].tolist() == pair.plain_state.frames[:3].tolist()


def test_padding_rows_and_order_change_nothing(pair: Pair) -> None:
    for rows, frames in FIRST:
        pair.decode(rows, drawn(len(rows), frames))
    codes, other = drawn(3, 1).to(DEVICE), copied(pair.state)
    alone = pair.fused.forward(codes, pair.state, torch.tensor([0, 1, 2], device=DEVICE))
    table = torch.tensor([[2, 0], [SLOTS, 0], [0, 0], [1, 0], [SLOTS, 0]], device=DEVICE)
    mixed = pair.fused.forward(codes[[2, 1, 0, 1, 2]], other, table[:, 0])  # a column: its rows do not adjoin
    assert torch.equal(mixed[[2, 3, 0]], alone)
    assert torch.equal(pair.state.tails[:3], other.tails[:3])
    assert torch.equal(pair.state.rings[:, :3], other.rings[:, :3])


def test_a_reset_slot_starts_anew(pair: Pair) -> None:
    codes, slots = drawn(1, 2).to(DEVICE), torch.tensor([1], device=DEVICE)
    first = pair.fused.forward(codes, pair.state, slots)
    pair.fused.forward(drawn(1, 4).to(DEVICE), pair.state, slots)
    pair.state.reset(slots)
    assert torch.equal(pair.fused.forward(codes, pair.state, slots), first)


@pytest.mark.parametrize("tile", [Tile(16, 64, 32), Tile(32, 16, 64), Tile(64, 64, 64, 4, 2), Tile(16, 64, 128, 2, 3)])
def test_every_tile_computes_the_same_convolution(tile: Tile) -> None:
    """A dilated convolution with residual and Snake, its past in front and the next layer's past put in place."""
    streams, steps, channels, width, taps, dilation = 3, 10, 128, 64, 7, 3
    length = (taps - 1) * dilation
    x = torch.randn(streams, length + steps, channels, device=DEVICE).half()
    weight = (torch.randn(taps * channels, width, device=DEVICE) / 30).half()
    bias, residual = torch.randn(width, device=DEVICE), torch.randn(streams, steps, width, device=DEVICE).half()
    snake = Snake(torch.rand(width, device=DEVICE) + 0.5, torch.rand(width, device=DEVICE))
    conv = Conv(weight, bias, taps, dilation, width, snake, taps * channels)
    pasts = torch.randn(SLOTS, length * channels + 2 * width, device=DEVICE).half()
    history = History(pasts[:, : length * channels], length, channels)
    next_history = History(pasts[:, length * channels :], 2, width)
    before = pasts.clone()
    rows = torch.tensor([2, 0, 3], device=DEVICE)
    ops = CodecOps(torch.device(DEVICE))
    on = Streams(rows)
    raw, out = ops.conv(
        x, conv, on, history=history, next_history=next_history, residual=residual, raw=torch.float16, tile=tile
    )
    taken = torch.stack([x[:, tap * dilation : tap * dilation + steps] for tap in range(taps)], 2).flatten(2)
    exact = taken.double() @ weight.double() + bias + residual
    snaked = exact + snake.gain * (snake.frequency * exact).sin().square()
    assert decibels(raw, exact) > LEAST
    assert decibels(out[:, 2:], snaked) > LEAST
    assert torch.equal(out[:, :2].flatten(1), next_history.values[rows])
    assert torch.equal(history.values[rows], x[:, -length:].flatten(1))
    assert torch.equal(pasts[1], before[1])
    assert torch.equal(next_history.values, before[:, length * channels :])


@pytest.mark.parametrize(("streams", "steps"), UNIT_STEPS)
@pytest.mark.parametrize(("channels", "tile"), [*UNIT_TILES, *GUESSED_TILES])
def test_every_tile_that_may_be_chosen_computes_the_same_unit(
    channels: int, tile: Tile, streams: int, steps: int
) -> None:
    """A residual unit of dilation 3, its past in front and the next layer's past put in place."""
    call, pasts = drawn_unit(channels, streams, steps)
    x, _, _, on, history, next_history = call.args
    before = pasts.clone()
    result = call.run(CodecOps(torch.device(DEVICE)), tile=tile)
    assert ratio(call, result) > LEAST
    assert torch.equal(result[1][:, : next_history.length].flatten(1), next_history.values[on.rows])
    assert torch.equal(history.values[on.rows], x[:, -history.length :].flatten(1))
    history.values[on.rows] = before[on.rows, : history.values.shape[1]]
    assert torch.equal(pasts, before)


def drawn_unit(channels: int, streams: int, steps: int) -> tuple[Call, Tensor]:
    """A call of a unit, and the pasts of all slots, its own and the next layer's, side by side."""
    history_length, next_length = 6 * 3, 2
    first = drawn_conv(channels, taps=7, dilation=3)
    second = drawn_conv(channels, taps=1, dilation=1)
    pasts = torch.randn(SLOTS, (history_length + next_length) * channels, device=DEVICE).half()
    history = History(pasts[:, : history_length * channels], history_length, channels)
    next_history = History(pasts[:, history_length * channels :], next_length, channels)
    on = Streams(torch.randperm(SLOTS)[:streams].to(DEVICE))
    x = torch.randn(streams, history_length + steps, channels, device=DEVICE).half()
    residual = torch.randn(streams, steps, channels, device=DEVICE).half()
    return Call("unit", (x, residual, Unit(first, second), on, history, next_history), {"raw": True}), pasts


def drawn_conv(channels: int, taps: int, dilation: int) -> Conv:
    """Of equally many channels out; rows padded to the deepest chunk, zero there."""
    depth = taps * channels
    weight = torch.zeros(-(-depth // DEPTHS) * DEPTHS, channels, device=DEVICE)
    weight[:depth].normal_(std=depth**-0.5)
    snake = Snake(torch.rand(channels, device=DEVICE) + 0.5, torch.rand(channels, device=DEVICE))
    return Conv(weight.half(), torch.randn(channels, device=DEVICE), taps, dilation, channels, snake, depth)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter adds in another order for another tile")
def test_audio_does_not_depend_on_company_or_chunks() -> None:
    """At full size: a stream alone frame by frame, in chunks, and among 64 others gives the same audio, bit for bit."""
    config = CodecDecoderConfig.from_json(codec_config("real")["decoder_config"])
    weights = under(codec_weights(codec_config("real"), seed=0, device=torch.device(DEVICE)), "decoder")
    decoder, frames = FusedCodecDecoder(config, weights), 96
    codes = torch.randint(0, 2048, (64, frames, 16), device=DEVICE)

    def heard(streams: int, sizes: list[int]) -> Tensor:
        state, rows = decoder.new_state(streams, DEVICE, decoder.dtype), torch.arange(streams, device=DEVICE)
        at, pieces = 0, list[Tensor]()
        while at < frames:
            size = sizes[len(pieces) % len(sizes)]
            pieces.append(decoder.forward(codes[:streams, at : at + size], state, rows))
            at += size
        return torch.cat(pieces, 1)

    alone = heard(1, [1])
    for streams, sizes in ((1, [12]), (1, [2, 4, 2]), (8, [1]), (8, [4, 8]), (32, [2]), (64, [1]), (64, [12])):
        assert torch.equal(heard(streams, sizes)[0], alone[0]), (streams, sizes)


@pytest.mark.skipif(INTERPRETED, reason="too slow interpreted")
def test_full_size_is_far_above_its_noise() -> None:
    pair = Pair(codec_config("real"))
    for rows, frames in [*FIRST, ([0, 1], 12), ([1, 2, 0], 1)]:
        ratio = decibels(*pair.decode(rows, drawn(len(rows), frames)))
        print(f"rows {rows}, {frames} frames at full size: {ratio:.1f} dB")
        assert ratio > 40
