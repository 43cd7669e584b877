"""Checkpoints of odd sizes: what a CPU takes, a GPU must take too."""

from dataclasses import dataclass, replace
from pathlib import Path

from engine.checkpoint.dummy import write_checkpoint
from engine.checkpoint.dummy.configs import Json, main_config

KIND = "1.7B-CustomVoice"
IDS = ("pad", "bos", "eos_token", "think", "nothink", "think_bos", "think_eos")


@dataclass(frozen=True, slots=True)
class Stack:
    """Sizes of a decoder; `heads`: query heads, key-value heads, and their width."""

    hidden: int
    intermediate: int
    heads: tuple[int, int, int]
    layers: int

    @property
    def json(self) -> Json:
        heads, groups, width = self.heads
        return {
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "head_dim": width,
            "num_hidden_layers": self.layers,
        }


@dataclass(frozen=True, slots=True)
class Layout:
    """A checkpoint's sizes: `codes` are the audio ids of a codebook, `groups` the codebooks."""

    talker: Stack
    predictor: Stack
    codes: int
    groups: int

    @property
    def config(self) -> Json:
        """Laid over the tiny custom voice's: the control ids follow the audio ids."""
        ids = {f"codec_{name}_id": self.codes + i for i, name in enumerate(IDS)}
        predictor = self.predictor.json | {"vocab_size": self.codes, "num_code_groups": self.groups}
        predictor["layer_types"] = ["full_attention"] * self.predictor.layers
        names = main_config(KIND, "tiny", {})["talker_config"]
        spoken = {name: dict.fromkeys(names[name], self.codes + 7) for name in ("codec_language_id", "spk_id")}
        sizes = {"vocab_size": self.codes + 8, "num_code_groups": self.groups}
        return {"talker_config": self.talker.json | ids | spoken | sizes | {"code_predictor_config": predictor}}

    @property
    def codec(self) -> Json:
        """Laid over the tiny codec's."""
        decoder = {"codebook_size": self.codes, "num_quantizers": self.groups}
        return {"decoder_config": decoder, "encoder_config": {"codebook_size": self.codes}}


_BASE = Layout(Stack(384, 864, (6, 2, 64), 2), Stack(256, 640, (4, 2, 64), 2), 512, 8)
LAYOUTS = {
    "the embedded voice's": _BASE,
    "two codebooks": replace(_BASE, groups=2),
    "32 codebooks": replace(_BASE, groups=32),
    "three codebooks of few codes": replace(_BASE, groups=3, codes=67),
    "many codes": replace(_BASE, codes=5000, groups=5),
    "narrow heads": replace(_BASE, talker=Stack(96, 200, (4, 4, 8), 3), predictor=Stack(96, 136, (3, 1, 12), 1)),
    "heads of 80": replace(_BASE, talker=Stack(240, 640, (3, 3, 80), 1), predictor=Stack(176, 304, (5, 1, 80), 3)),
    "heads of 256": replace(_BASE, talker=Stack(512, 1000, (4, 2, 256), 2), predictor=Stack(512, 96, (2, 2, 256), 2)),
    "heads of 320": replace(_BASE, talker=Stack(320, 500, (2, 1, 320), 2), predictor=Stack(64, 90, (2, 1, 320), 2)),
    "31 heads to one": replace(_BASE, talker=Stack(496, 512, (31, 1, 16), 2), predictor=Stack(60, 70, (8, 1, 20), 2)),
    "40 heads to one": replace(_BASE, talker=Stack(640, 512, (40, 1, 16), 2), predictor=Stack(640, 70, (40, 1, 16), 2)),
    "odd everything": Layout(Stack(1030, 2050, (14, 2, 36), 5), Stack(102, 346, (9, 3, 44), 4), 1021, 11),
}


def write(folder: Path, layout: Layout) -> Path:
    """A random checkpoint of these sizes, which never ends by itself."""
    return write_checkpoint(folder, KIND, eos_scale=0.0, config_overrides=layout.config, codec_overrides=layout.codec)
