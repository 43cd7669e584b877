"""Random checkpoints have the layout of the published ones."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import models

from engine.checkpoint.dummy import KINDS, write_checkpoint
from engine.checkpoint.dummy.configs import codec_config, main_config
from engine.checkpoint.dummy.tokenizer import ADDED, REAL_ENTRIES, tiny_vocabulary
from engine.checkpoint.layout import Shapes, codec_shapes, main_shapes

PUBLISHED_BYTES = {
    "0.6B-Base": 1_829_344_272,
    "0.6B-CustomVoice": 1_811_626_576,
    "1.7B-Base": 3_857_413_744,
    "1.7B-VoiceDesign": 3_833_402_552,
}
PUBLISHED_CODEC_BYTES = 682_293_092


def safetensors_bytes(shapes: Shapes, dtype: str, width: int, metadata: Mapping[str, str] | None) -> int:
    """Length of a safetensors file: an 8-byte count, the JSON header padded to 8 bytes, the tensors by name."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name in sorted(shapes):
        end = offset + math.prod(shapes[name]) * width
        header[name] = {"dtype": dtype, "shape": list(shapes[name]), "data_offsets": [offset, end]}
        offset = end
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + math.ceil(length / 8) * 8 + offset


@pytest.mark.parametrize("kind", PUBLISHED_BYTES)
def test_names_and_shapes_give_the_published_file_sizes(kind: str) -> None:
    config = main_config(kind, "real", tiny_vocabulary(REAL_ENTRIES).config_ids)
    metadata = None if kind.endswith("Base") else {"format": "pt"}
    assert safetensors_bytes(main_shapes(config), "BF16", 2, metadata) == PUBLISHED_BYTES[kind]


def test_codec_names_and_shapes_give_the_published_file_size() -> None:
    assert safetensors_bytes(codec_shapes(codec_config("real")), "F32", 4, None) == PUBLISHED_CODEC_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_written_files_hold_what_the_layout_says(kind: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / kind, kind)
    config = json.loads((folder / "config.json").read_text())
    codec = json.loads((folder / "speech_tokenizer" / "config.json").read_text())
    main = load_file(folder / "model.safetensors")
    assert {name: tuple(t.shape) for name, t in main.items()} == main_shapes(config)
    assert {t.dtype for t in main.values()} == {torch.bfloat16}
    sounds = load_file(folder / "speech_tokenizer" / "model.safetensors")
    assert {name: tuple(t.shape) for name, t in sounds.items()} == codec_shapes(codec)
    assert {t.dtype for t in sounds.values()} == {torch.float32}
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == (None if kind.endswith("Base") else {"format": "pt"})


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, same, other = (
        write_checkpoint(tmp_path / name, "0.6B-CustomVoice", seed=seed) / "model.safetensors"
        for name, seed in (("first", 3), ("same", 3), ("other", 4))
    )
    assert first.read_bytes() == same.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_an_existing_checkpoint_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        write_checkpoint(tmp_path / "taken", "0.6B-Base")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken" / "note.txt").read_text() == "mine"


def test_overrides_reach_config_and_shapes(tmp_path: Path) -> None:
    overrides = {"talker_config": {"num_hidden_layers": 1, "code_predictor_config": {"num_hidden_layers": 1}}}
    folder = write_checkpoint(tmp_path / "one", "1.7B-CustomVoice", config_overrides=overrides)
    names = load_file(folder / "model.safetensors").keys()
    assert {n.split(".")[3] for n in names if n.startswith("talker.model.layers.")} == {"0"}
    assert {n.split(".")[4] for n in names if n.startswith("talker.code_predictor.model.layers.")} == {"0"}


def test_the_tiny_vocabulary_has_whole_roles_and_ends_in_the_added_tokens() -> None:
    vocabulary = tiny_vocabulary()
    bpe = models.BPE(vocab=vocabulary.entries, merges=vocabulary.merges)
    assert [[t.value for t in bpe.tokenize(role)] for role in ("assistant", "user")] == [["assistant"], ["user"]]
    assert list(vocabulary.added.values()) == list(range(len(vocabulary.entries), vocabulary.rows))
    assert len(ADDED) == 33


def test_a_filled_vocabulary_has_the_published_ids() -> None:
    ids = tiny_vocabulary(REAL_ENTRIES).config_ids
    assert (ids["im_start_token_id"], ids["im_end_token_id"]) == (151_644, 151_645)
    assert (ids["tts_pad_token_id"], ids["tts_bos_token_id"], ids["tts_eos_token_id"]) == (151_671, 151_672, 151_673)
