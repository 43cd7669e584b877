"""The plan: who says what and how fast, in batches of few sizes in which nothing is lost."""

import numpy as np

from tools.train_voice.phonemes import Corpus
from tools.train_voice.plan import batches, plan
from tools.train_voice.speakers import SPEAKERS

SIZES = [5, 40, 13, 90, 7, 22, 61, 33, 8, 15]
CORPUS = Corpus([f"{size}." for size in SIZES], ["."] * len(SIZES), [np.zeros(size, np.uint8) for size in SIZES])


def test_speakers_take_turns_by_their_shares() -> None:
    lines = plan(CORPUS, 0.02, {"joe": 2, "slt": 1})
    assert [SPEAKERS[line.speaker].name for line in lines[:6]] == ["joe", "joe", "slt", "joe", "joe", "slt"]
    again = lines[10]
    assert (again.text, SPEAKERS[again.speaker].name) == ("5.", "joe")
    assert len({line.utterance.seed for line in lines}) == len(lines)
    assert lines == plan(CORPUS, 0.02, {"joe": 2, "slt": 1})


def test_batches_hold_every_line_once_and_no_more_than_fits() -> None:
    lines = plan(CORPUS, 0.2, {"joe": 1, "slt": 1})
    made = list(batches(lines, 300))
    said = [line.utterance.seed for _, batch in made for line in batch]
    assert sorted(said) == [line.utterance.seed for line in lines]
    for speaker, batch in made:
        assert {SPEAKERS[line.speaker] for line in batch} == {speaker}
        assert len(batch) * max(len(line.utterance.phonemes) for line in batch) <= 300


def test_batches_come_in_few_sizes() -> None:
    lines = plan(CORPUS, 2, {"joe": 1})
    sizes = {
        (len(batch), -(-max(len(line.utterance.phonemes) for line in batch) // 16)) for _, batch in batches(lines, 300)
    }
    assert len(sizes) <= len({-(-size // 16) for size in SIZES}) + 3
