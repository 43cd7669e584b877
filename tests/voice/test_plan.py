"""The plan: who says what and how fast, in batches of few sizes in which nothing is lost."""

import numpy as np

from training.corpus.phonemes import Corpus
from training.teacher.plan import batches, plan
from training.teacher.speakers import ALL, SPEAKERS, UNSEEN

SIZES = [5, 40, 13, 90, 7, 22, 61, 33, 8, 15]
CORPUS = Corpus([f"{size}." for size in SIZES], ["."] * len(SIZES), [np.zeros(size, np.uint8) for size in SIZES])


def test_speakers_come_by_their_shares() -> None:
    lines = plan(CORPUS, 5, {"joe": 2, "slt": 1, "others": 1})
    names = [SPEAKERS[line.speaker].name for line in lines]
    assert 0.4 < names.count("joe") / len(names) < 0.6 and 0.18 < names.count("slt") / len(names) < 0.32
    assert len(set(names)) > 100
    assert sorted({line.text for line in lines[:10]}) == sorted(CORPUS.texts)  # each once before any comes again
    assert len({line.utterance.seed for line in lines}) == len(lines)
    assert lines == plan(CORPUS, 5, {"joe": 2, "slt": 1, "others": 1})


def test_who_speaks_higher_is_read_slower() -> None:
    high = next(n for n, speaker in enumerate(SPEAKERS) if speaker.pitch > 1.5)
    said = [line for line in plan(CORPUS, 3, {"others": 1}) if line.speaker == high]
    assert said and all(1.3 < line.utterance.slowness < 2.1 for line in said)


def test_batches_hold_every_line_once_and_no_more_than_fits() -> None:
    lines = plan(CORPUS, 0.2, {"joe": 1, "slt": 1, "others": 1})
    made = list(batches(lines, 300))
    said = [line.utterance.seed for _, batch in made for line in batch]
    assert sorted(said) == sorted(line.utterance.seed for line in lines)
    for ratio, batch in made:
        assert {SPEAKERS[line.speaker].ratio for line in batch} == {ratio}
        assert len(batch) * max(len(line.utterance.phonemes) for line in batch) <= 300


def test_batches_come_in_few_sizes() -> None:
    lines = plan(CORPUS, 2, {"joe": 1})
    sizes = {
        (len(batch), -(-max(len(line.utterance.phonemes) for line in batch) // 16)) for _, batch in batches(lines, 300)
    }
    assert len(sizes) <= len({-(-size // 16) for size in SIZES}) + 3


def test_clones_are_judged_by_speakers_of_no_training() -> None:
    voices = {(speaker.source, speaker.ratio, speaker.disguise) for speaker in SPEAKERS}
    assert not voices & {(speaker.source, speaker.ratio, speaker.disguise) for speaker in UNSEEN}
    assert len({speaker.source for speaker in UNSEEN} - {speaker.source for speaker in SPEAKERS}) == 3
    assert len({speaker.name for speaker in ALL}) == len(SPEAKERS) + 10
    assert max(line.speaker for line in plan(CORPUS, 3, {"others": 1})) < len(SPEAKERS)
