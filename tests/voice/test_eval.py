"""The report of make eval-voice: its figures from known speeches, and the teacher's for every sentence."""

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="needs tools/eval_voice/requirements.txt")
pytest.importorskip("num2words")

from tools.eval_voice.__main__ import Heard, report
from tools.eval_voice.speaking import Spoken
from tools.eval_voice.teacher import HELD_OUT, stored


def heard(text: str, words: str, seconds: float, ended: bool = True) -> Heard:
    return Heard(Spoken(text, np.zeros(int(24_000 * seconds), np.int16), 0.1, seconds / 4, ended), words)


def test_the_teacher_is_known_for_every_held_out_sentence() -> None:
    known = stored()
    assert list(known.seconds) == HELD_OUT.read_text("utf-8").splitlines()
    assert all(8 < len(text) / seconds < 30 for text, seconds in known.seconds.items())
    assert known.word_error_rate < 0.05


def test_the_report_says_what_was_heard(capsys: pytest.CaptureFixture[str]) -> None:
    text, usual = next(iter(stored().seconds.items()))  # four words
    whole = [heard(text, text.lower(), usual), heard("One two three four.", "one two three", 1.0)]
    by_words = [heard(text, text, 1.5 * usual), heard("One two three four.", "one two tree four", 3.0, ended=False)]
    report(whole, by_words)
    said = {line[:22].strip(): line[22:].strip() for line in capsys.readouterr().out.splitlines()}
    assert said["word error rate"] == "12.5% at once, 12.5% word by word"
    assert said["same words both ways"] == f"{1 - 2 / 7:.1%}"
    assert said["ended by themselves"] == "75.0%"
    assert said["longest"] == "1.50 times the teacher's"
    assert said["real-time factor"] == "0.25 on one core"
    assert said["first audio"] == "100 ms in the median, 100 ms at most"
