"""What is learned from: clean sentences, read as people read them, and none of those that judge."""

import random
import re
from pathlib import Path

import numpy as np
import pytest

from training.corpus.phonemes import Corpus, read_corpus, with_end, write_corpus

pytest.importorskip("wordfreq", reason="needs training/requirements.txt")

from training.corpus.clean import is_clean, sentences
from training.corpus.texts import Collection, careless, facts, held_out, joined, lists, pairs


def test_a_paragraph_falls_into_clean_sentences() -> None:
    text = "Dr. Smith came\tlate — again. “Why?” he was asked! See http://x.y for more. It is so: 5 of 6 agree."
    assert list(sentences(text)) == ["Dr. Smith came late, again.", '"Why?" he was asked!', "It is so: 5 of 6 agree."]


@pytest.mark.parametrize(
    "odd", ["no capital.", "No end", "Qwzrtp is no word.", "Two  -- dashes.", "A b2b3 thing.", "Um..."]
)
def test_odd_sentences_are_refused(odd: str) -> None:
    assert not is_clean(odd)


def test_nothing_near_a_held_out_sentence_is_learned() -> None:
    taken = Collection({})
    near = f"And they said: {held_out()[-1]}"
    assert taken.add([*held_out(), near, "We missed the bus again today.", "We missed the bus"]) == 1
    assert taken.sentences == ["We missed the bus again today."]


def test_a_sentence_counts_once_whatever_its_marks() -> None:
    assert Collection({}).add(["Come here!", "Come here.", "come here"]) == 1


def test_rare_words_are_made_up_for() -> None:
    taken = Collection({"tea": "tea", "japan": "Japan"})
    taken.add(["Tea, please.", "More tea."])
    assert sorted(taken.rare()) == ["Japan"] * 4 + ["tea"] * 2
    taken.add(lists(["Japan", "tea", "Japan", "tea"], random.Random(1)))
    assert facts(taken.sentences, {"tea", "japan"})["of the 2 commonest"] == 2


def test_long_texts_are_made_of_short_ones() -> None:
    short = ["The door is open now.", "It was raining all day.", "Oh!"]
    assert set(pairs(short[1:], 9, random.Random(1))) == {"It was raining all day. Oh!", "Oh! It was raining all day."}
    made = list(joined(short, 9, random.Random(1)))
    assert all(map(is_clean, made))
    assert any(re.fullmatch(r"The door is open now,? \w+ it was raining all day\.", sentence) for sentence in made)


def test_some_people_write_carelessly() -> None:
    rng = random.Random(1)
    written = {careless("Hello There.", rng) for _ in range(200)}
    assert written == {"Hello There.", "hello there.", "Hello There"}
    assert with_end("Hello There") == with_end("Hello There.") == "Hello There."


def test_the_corpus_comes_back_from_its_file(tmp_path: Path) -> None:
    corpus = Corpus(["One 1.", "Two."], ["One one.", "Two."], [np.array([3, 4, 5], np.uint8), np.array([6], np.uint8)])
    write_corpus(tmp_path / "corpus.npz", corpus)
    back = read_corpus(tmp_path / "corpus.npz")
    assert back[:2] == corpus[:2]
    assert [ids.tolist() for ids in back.phonemes] == [[3, 4, 5], [6]]
