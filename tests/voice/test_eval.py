"""The report of make eval-voice: its figures from known speeches, the teachers' own, and the picture."""

from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="needs training/evaluate/requirements.txt")
pytest.importorskip("num2words")

from training.evaluate import clones, picture, report
from training.evaluate.heard import Count, Heard, counted, total
from training.evaluate.pace import quarters
from training.evaluate.sentences import HELD_OUT, SETS, Sentence, read, sentences
from training.evaluate.speaking import Spoken
from training.evaluate.teacher import stored


def heard(text: str, words: str, seconds: float, *, kind: str = "held_out", ended: bool = True) -> Heard:
    speech = Spoken(text, np.zeros(int(24_000 * seconds), np.int16), 0.1, seconds / 4, ended)
    return Heard(Sentence("agents" if kind == "short" else "held_out", kind, text), speech, words)


def test_the_teachers_are_known_for_every_sentence() -> None:
    known = stored()
    assert list(known.seconds) == [sentence.text for sentence in read(HELD_OUT)]
    assert all(8 < len(text) / seconds < 30 for text, seconds in known.seconds.items())
    for counts in known.counts.values():
        assert {key.partition(":")[0] for key in counts} == set(SETS)
        assert counts["held_out"].rate < 0.06


def test_sentences_have_their_kinds() -> None:
    kinds = {sentence.kind for sentence in sentences(("agents",))}
    assert {"greeting", "money", "phone", "email", "short", "long"} <= kinds
    texts = [sentence.text for sentence in sentences()]
    assert len(texts) == len(set(texts)) and all(text == text.strip() and text for text in texts)


def test_errors_are_counted_by_kind() -> None:
    text = next(iter(stored().seconds))  # four words
    one, two = heard(text, text, 1.0), heard("All right.", "All write.", 1.0, kind="short")
    assert counted([one, two]) == {"held_out": Count(0, 4), "agents": Count(1, 2), "agents: short": Count(1, 2)}


def test_the_report_says_what_was_heard() -> None:
    text, usual = next(iter(stored().seconds.items()))  # four words
    whole = [heard(text, text.lower(), usual), heard("One two three four.", "one two three", 1.0)]
    by_words = [heard(text, text, 1.5 * usual), heard("One two three four.", "one two tree four", 3.0, ended=False)]
    _, line = report.kinds(whole, by_words, {"held_out": Count(1, 50)})
    assert line.split() == ["held_out", "8", "12.5%", "12.5%", "2.0%"]
    said = {line[:22].strip(): line[22:].strip() for line in report.figures(whole, by_words, stored().seconds)}
    assert said["same words both ways"] == f"{1 - 2 / 7:.1%}"
    assert said["ended by themselves"] == "75.0%"
    assert said["longest"] == "1.50 times the teacher's"
    assert said["real-time factor"] == "0.25 on one core"
    assert said["first audio"] == "100 ms in the median, 100 ms at most"
    assert len(list(report.misheard([*whole, *by_words]))) == 2


def test_pace_is_seen_by_quarters() -> None:
    words = [(0.0, 1.0, "abcd"), (1.0, 2.0, "ab"), (2.0, 4.0, "abcdef")]
    assert quarters(words).tolist() == [4.0, 2.0, 3.0, 3.0]
    assert not quarters([]).any()


def test_a_picture_has_a_bar_for_every_count_and_a_mark_for_the_recogniser() -> None:
    counts = {"held_out": Count(1, 20), "agents: short": Count(9, 10)}  # longer than the axis
    drawn = ElementTree.fromstring(picture.draw({"joe": counts, "slt": counts}, [{"held_out": Count(1, 50)}, {}], "t"))
    bars = [part for part in drawn.findall(".//{*}rect") if part.get("height") == str(picture.ROW - 1)]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths == [132.5, 132.5, 530.0, 530.0]  # a quarter of the axis, and all of it
    assert max(float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in bars) <= picture.WIDTH


def test_a_clone_counts_where_its_own_recording_is_nearer_by_a_margin() -> None:
    known = {"a": np.array([1, 0], np.float32), "b": np.array([0, 1], np.float32)}
    said = {"a": np.array([[0.9, 0.1], [0.7, 0.5]], np.float32), "b": np.array([[0.6, 0.61]], np.float32)}
    likeness = clones.likenesses(said, known)
    assert (likeness["a"].nearest, likeness["a"].cloned) == ("b", True)
    assert likeness["a"][:2] == pytest.approx((0.8, 0.3))
    assert not likeness["b"].cloned  # nearer, but by 0.01
    *_, nearer, words = clones.report(likeness, {"a": Count(1, 10), "b": Count(2, 10)})
    assert nearer.split()[-4:-1] == ["1", "of", "2"] and words.split()[-1] == "15.0%"


def test_all_speeches_count_together() -> None:
    assert total([heard("All right.", "All write.", 1.0), heard("One two.", "one", 1.0)]) == Count(2, 4)
