"""A recogniser's transcripts of speeches, counted by kind of sentence."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from training.evaluate.recogniser import Recogniser
from training.evaluate.sentences import Sentence
from training.evaluate.speaking import Spoken
from training.evaluate.words import plain_words, word_errors


class Heard(NamedTuple):
    """A sentence, its speech, the recogniser's transcript."""

    sentence: Sentence
    speech: Spoken
    words: str

    @property
    def errors(self) -> int:
        """Words that are wrong."""
        return word_errors(self.sentence.text, self.words)


class Count(NamedTuple):
    """Count of wrong words among all words."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """The word error rate."""
        return self.errors / max(1, self.words)


def recognised(recogniser: Recogniser, said: Iterable[tuple[Sentence, Spoken]]) -> list[Heard]:
    """Each speech with its transcript."""
    return [Heard(sentence, speech, recogniser.transcribe(speech.samples)) for sentence, speech in said]


def total(heard: Iterable[Heard]) -> Count:
    """Count over all speeches."""
    every = list(heard)
    return Count(sum(one.errors for one in every), sum(len(plain_words(one.sentence.text)) for one in every))


def counted(heard: Sequence[Heard]) -> dict[str, Count]:
    """Counts by group, then by "group: kind".

    The latter only for groups of several kinds.
    """
    return tallied((one.sentence, one.errors) for one in heard)


def tallied(errors: Iterable[tuple[Sentence, int]]) -> dict[str, Count]:
    """As `counted`, of sentences with their errors."""
    counts = dict[str, Count]()
    for sentence, wrong in errors:
        words = len(plain_words(sentence.text))
        for key in dict.fromkeys((sentence.group, f"{sentence.group}: {sentence.kind}")):
            before = counts.get(key, Count(0, 0))
            counts[key] = Count(before.errors + wrong, before.words + words)
    return {key: count for key, count in counts.items() if key != f"{key.split(':')[0]}: {key.split(':')[0]}"}
