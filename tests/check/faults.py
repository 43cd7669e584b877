"""Faults to be found: each changes the weights that the device's path reads, and the plain path does not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from torch import Tensor

from engine.build import parts
from engine.checkpoint import weights
from engine.checkpoint.dummy.tokenizer import Vocabulary
from engine.checkpoint.weights import Checkpoint

Weights = dict[str, Tensor]
Fault = Callable[[Weights, Weights], None]  # of talker and predictor, of the codec


def plant(monkeypatch: pytest.MonkeyPatch, *faults: Fault) -> None:
    """Put faults into whatever the engine loads from now on."""
    from_folder, random = weights.load_checkpoint, weights.dummy_checkpoint

    def load(*args: Any) -> Checkpoint:
        return _faulty(from_folder(*args), faults)

    def draw(*args: Any) -> tuple[Checkpoint, Vocabulary]:
        checkpoint, vocabulary = random(*args)
        return _faulty(checkpoint, faults), vocabulary

    monkeypatch.setattr(parts, "load_checkpoint", load)
    monkeypatch.setattr(parts, "dummy_checkpoint", draw)


def _faulty(checkpoint: Checkpoint, faults: Sequence[Fault]) -> Checkpoint:
    main, codec = (
        {name: tensor.clone() for name, tensor in part.items()} for part in (checkpoint.main, checkpoint.codec)
    )
    for fault in faults:
        fault(main, codec)
    return replace(checkpoint, main=main, codec=codec)


def swap(weights: Weights, some: str, other: str) -> None:
    weights[some], weights[other] = weights[other], weights[some]


TALKER, PREDICTOR = "talker.model.layers", "talker.code_predictor.model.layers"


def swapped_layers(main: Weights, codec: Weights) -> None:
    for name in list(main):
        if name.startswith(f"{TALKER}.0."):
            swap(main, name, name.replace(f"{TALKER}.0.", f"{TALKER}.1."))


def scaled_matrix(main: Weights, codec: Weights) -> None:
    """A twentieth too large, as by a wrong scale of quantisation."""
    main[f"{TALKER}.1.mlp.down_proj.weight"].mul_(1.05)


def dropped_tap(main: Weights, codec: Weights) -> None:
    codec["decoder.decoder.2.block.3.conv1.conv.weight"][..., 3] = 0


def swapped_heads(main: Weights, codec: Weights) -> None:
    swap(main, "talker.code_predictor.lm_head.2.weight", "talker.code_predictor.lm_head.3.weight")


def swapped_embeddings(main: Weights, codec: Weights) -> None:
    swap(
        main,
        "talker.code_predictor.model.codec_embedding.4.weight",
        "talker.code_predictor.model.codec_embedding.5.weight",
    )


def swapped_books(main: Weights, codec: Weights) -> None:
    book = "decoder.quantizer.rvq_rest.vq.layers.{}._codebook.{}"
    for part in ("embedding_sum", "cluster_usage"):
        swap(codec, book.format(0, part), book.format(1, part))


def overflow(main: Weights, codec: Weights) -> None:
    """A gate whose product is beyond fp32, and so bf16."""
    main[f"{PREDICTOR}.1.mlp.up_proj.weight"].mul_(1e38)


def codec_overflow(main: Weights, codec: Weights) -> None:
    codec["decoder.decoder.1.block.1.conv.weight"].mul_(1e38)


HALF, LOGITS = "error of one half layer, of what it adds", "error of the logits, of their spread"
PLACES, CODEC = "places with values that are not finite", "device against plain, dB"


class Found(NamedTuple):
    """A fault, the figure that must fail, a word of where."""

    fault: Fault
    section: str
    figure: str
    where: str


FAULTS = {
    "swapped layers": Found(swapped_layers, "language models", HALF, "talker layer"),
    "a scaled matrix": Found(scaled_matrix, "language models", HALF, "talker layer 1 mlp"),
    "swapped heads": Found(swapped_heads, "language models", LOGITS, "codebook 3"),
    "swapped embeddings": Found(swapped_embeddings, "language models", HALF, "embedding of codebook 5"),
    "an overflow": Found(overflow, "language models", PLACES, "predictor layer 1 mlp"),
    "a dropped tap": Found(dropped_tap, "codec", CODEC, ""),
    "swapped books": Found(swapped_books, "codec", CODEC, ""),
    "an overflow in the codec": Found(codec_overflow, "codec", PLACES, "the codec's blocks 0"),
}
# Run together, since neither hides the other.
EXPERIMENTS = (
    ("swapped layers", "a dropped tap"),
    ("a scaled matrix", "swapped books"),
    ("swapped heads",),
    ("swapped embeddings",),
    ("an overflow", "an overflow in the codec"),
)
