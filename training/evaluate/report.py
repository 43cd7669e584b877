"""The figures of one voice, as text."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from training.evaluate.heard import Count, Heard, counted
from training.evaluate.words import word_error_rate

Counts = Mapping[str, Count]


def kinds(whole: Sequence[Heard], by_words: Sequence[Heard], own: Counts) -> Iterator[str]:
    """A line for each kind of sentence.

    `own`: the recogniser's errors on the voice's teacher.
    """
    first, second = counted(whole), counted(by_words)
    yield f"{'word error rate':26}{'words':>6}{'at once':>9}{'by words':>10}{'recogniser':>12}"
    for key, count in first.items():
        known = f"{own[key].rate:.1%}" if key in own else "-"
        name = f"  {key.partition(': ')[2]}" if ":" in key else key
        yield f"{name:26}{count.words:6}{count.rate:9.1%}{second[key].rate:10.1%}{known:>12}"


def figures(whole: Sequence[Heard], by_words: Sequence[Heard], usual: Mapping[str, float]) -> Iterator[str]:
    """Lines of the remaining figures.

    `usual`: the teacher's duration of a text, in seconds.
    """
    speeches = [one.speech for one in (*whole, *by_words)]
    audio = sum(speech.seconds for speech in speeches)
    firsts = [1000 * speech.first for speech in speeches]
    longest = max((s.seconds / usual[s.text] for s in speeches if s.text in usual), default=0.0)
    pairs = [(ours.words, theirs.words) for ours, theirs in zip(whole, by_words, strict=True)]
    yield f"same words both ways   {max(0.0, 1 - word_error_rate(pairs)):.1%}"
    yield f"ended by themselves    {statistics.mean(speech.ended for speech in speeches):.1%}"
    yield f"pace                   {sum(len(speech.text) for speech in speeches) / audio:.1f} characters a second"
    yield f"longest                {longest:.2f} times the teacher's" if longest else "longest                not known"
    yield f"real-time factor       {sum(speech.total for speech in speeches) / audio:.2f} on one core"
    yield f"first audio            {statistics.median(firsts):.0f} ms in the median, {max(firsts):.0f} ms at most"


def misheard(heard: Sequence[Heard]) -> Iterator[str]:
    """Lines about speeches with errors, or without an end."""
    for one in heard:
        if one.errors or not one.speech.ended:
            yield f"  said   {one.sentence.text}\n  heard  {one.words}{'' if one.speech.ended else '  (did not end)'}"
