"""Trainings that go on from a checkpoint's folder: its weights, its words, and its codec as it is."""

from pathlib import Path

import pytest
import torch

from engine.prompt.tokenizer import TextTokenizer
from tests.voice.conftest import TEXTS
from training.export import export
from training.resumed import read_talker, with_words
from training.sizes import FRAME_SAMPLES, GROUPS, model_config, talker_config
from training.talker.coded import load_codec, read_vectors, write_vectors
from training.talker.columns import VECTOR, Utterance, build_sequences
from training.talker.subwords import train_subwords

CPU = torch.device("cpu")


def test_a_checkpoints_talker_is_the_trained_one(untrained: Path) -> None:
    (before, words), (after, own) = (read_talker(untrained / name) for name in ("talker.pt", "checkpoint"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert (own.entries, own.merges) == (words.entries, words.merges)


def test_a_new_piece_begins_as_the_mean_of_its_parts(untrained: Path) -> None:
    state, old = read_talker(untrained / "talker.pt")
    new = train_subwords([*TEXTS, "zq zq zq"])
    name = "talker.model.text_embedding.weight"
    known, rows = state[name], with_words(state, old, new)[name]
    assert len(rows) == new.rows and "zq" not in old.entries
    torch.testing.assert_close(rows[new.entries["zq"]], (known[old.entries["z"]] + known[old.entries["q"]]) / 2)
    torch.testing.assert_close(rows[new.entries["a"]], known[old.entries["a"]])


def test_a_checkpoints_codec_gives_the_same_codes_and_is_exported_as_it_is(untrained: Path, tmp_path: Path) -> None:
    wave = 0.1 * torch.randn(1, 8 * FRAME_SAMPLES)
    file, folder = (load_codec(untrained / name, CPU) for name in ("codec.pt", "checkpoint"))
    with torch.inference_mode():
        pairs = [(codec.quantizer(codec.encoder(wave)).codes) for codec in (file, folder)]
    assert (pairs[0] == pairs[1]).float().mean() > 0.95  # one is bf16 and the other fp16
    export(untrained / "talker.pt", untrained / "checkpoint", tmp_path / "out")
    ours, theirs = (
        (root / "speech_tokenizer" / "model.safetensors") for root in (tmp_path / "out", untrained / "checkpoint")
    )
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("cloning", [False, True])
def test_voices_are_named_by_vectors_only_where_there_are_some(tmp_path: Path, cloning: bool) -> None:
    words = train_subwords(TEXTS)
    config = model_config(talker_config(words.config_ids, words.rows))
    if cloning:
        write_vectors(tmp_path, torch.zeros(2, 1, config.talker.hidden))
    said = [Utterance(text, 1, torch.zeros(4, GROUPS).short().numpy()) for text in TEXTS * 20]
    tokenizer = TextTokenizer(words.entries, words.merges, "qwen2")
    sequences = build_sequences(config, tokenizer, said, 0.5, 0, read_vectors(tmp_path))
    assert bool((sequences.codes == VECTOR).any()) is cloning
