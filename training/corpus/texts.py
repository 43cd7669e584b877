"""Corpus of sentences, written or generated, each once.

Every common word comes several times.

    training/corpus/fetch_sources.sh .voice/sources
    python -m training.corpus.texts --sources .voice/sources --out .voice/texts.txt

The same packages give the same corpus. `corpus.json` has what it was made of.
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from training.corpus import prose
from training.corpus.clean import MOST_WORDS, words
from training.corpus.generated import generated
from training.corpus.vocabulary import common_words

HELD_OUT = [Path(__file__).with_name(f"{name}.txt") for name in ("held_out", "agents", "others")]
MANIFEST = Path(__file__).with_name("corpus.json")
SEED = 4
SHARED_WORDS = 5  # words in a row that no training sentence shares with a held-out one
TIMES = 4  # how often each common word occurs at least
SOURCES = {  # what is taken at most, in sentences
    "WordNet 3.0, examples (WordNet licence)": (prose.examples, 11_000),
    "fortunes (BSD licence; quotations)": (prose.adages, 9_000),
    "gnome-user-docs (CC-BY-SA-3.0)": (prose.manuals, 1_500),
    "endless-sky (GPL-3.0-or-later)": (prose.talk, 4_000),
    "wesnoth (GPL-2.0-or-later)": (prose.campaigns, 7_000),
    "Wikibooks, recipes (CC-BY-SA)": (prose.recipes, 4_000),
    "Wikipedia, summaries (CC-BY-SA)": (prose.summaries, 6_000),
}
GENERATED = {  # sections of the templates, and how many sentences of each
    **{"agent": 5_000, "everyday": 5_000, "short": 2_000, "brief": 5_000, "greeting": 2_500, "longer": 1_500},
    **dict.fromkeys("confirmation question amount dates clock phone email abbreviation listing".split(), 2_200),
    **dict.fromkeys("travel shops weather family home work food health school leisure".split(), 1_500),
    **dict.fromkeys("feelings stories".split(), 2_000),
}
REPEATED, REPEATS = ("brief", "greeting", "short"), 4  # what callers say most often; copies of each
PAIRS, JOINED = 4_000, 4_000  # long texts are rare, so some are made of two short ones
_CLAUSE = re.compile(r"(He|She|They|We|It|You|The|There|His|Her|My|Our|This)( \w[\w' ]{12,60})\.")
_CARELESS = 0.04  # share of sentences in lower case, and as many without an end: people write so
_Item = TypeVar("_Item")


def main() -> None:
    """Write the corpus, a sentence a line, with its manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    counts, sentences = corpus(arguments.sources)
    arguments.out.write_text("".join(f"{sentence}\n" for sentence in sentences), "utf-8")
    made_of = {"sentences by source": counts} | facts(sentences, set(common_words(arguments.sources)))
    MANIFEST.write_text(json.dumps(made_of, indent=2) + "\n", "utf-8")
    print(MANIFEST.read_text("utf-8"), end="")


def corpus(root: Path) -> tuple[dict[str, int], list[str]]:
    """Count of sentences by source, with all in random order.

    `root`: where the packages were unpacked.
    """
    rng, taken = random.Random(SEED), Collection(common_words(root))
    counts = {name: taken.add(_sample(source(root), most, rng)) for name, (source, most) in SOURCES.items()}
    often = list[str]()
    for section, most in GENERATED.items():
        counts[f"generated: {section}"] = taken.add(generated(root, section, most, SEED))
        if section in REPEATED:
            often += taken.sentences[-counts[f"generated: {section}"] :] * (REPEATS - 1)
    explained = _sample(prose.definitions(root), 10**6, rng)
    counts["WordNet 3.0, definitions of rare words (WordNet licence)"] = taken.add(taken.lacking(explained))
    counts["generated: lists of rare words (SCOWL)"] = taken.add(lists(taken.rare(), rng))
    counts["of the above, two in a row"] = taken.add(pairs(taken.sentences, PAIRS, rng))
    counts["of the above, two as one"] = taken.add(joined(taken.sentences, JOINED, rng))
    counts["of the above, repeated"] = len(often)
    every = taken.sentences + often
    return counts, [careless(sentence, rng) for sentence in rng.sample(every, len(every))]


class Collection:
    """Sentences without repeats, none near a held-out one; word counts."""

    def __init__(self, common: dict[str, str]) -> None:
        self.sentences: list[str] = []
        self._common = common
        self._seen: set[str] = set()
        self._frequency: Counter[str] = Counter()
        self._kept_out = {piece for sentence in held_out() for piece in _pieces(sentence)}

    def add(self, sentences: Iterable[str]) -> int:
        """Take what is new; how many that were."""
        before = len(self.sentences)
        for sentence in sentences:
            key = " ".join(re.findall(r"\w+", sentence.lower()))
            if key not in self._seen and self._kept_out.isdisjoint(_pieces(sentence)):
                self._seen.add(key)
                self.sentences.append(sentence)
                self._frequency.update(words(sentence))
        return len(self.sentences) - before

    def lacking(self, explained: Iterable[tuple[str, str]]) -> Iterator[str]:
        """Sentences whose explained common word is rare at its turn."""
        for word, sentence in explained:
            if word.lower() in self._common and self._frequency[word.lower()] < TIMES:
                yield sentence

    def rare(self) -> list[str]:
        """Common words that are rare here, as they are written.

        Each comes as often as it lacks.
        """
        return [word for low, word in self._common.items() for _ in range(TIMES - self._frequency[low])]


def lists(rare: list[str], rng: random.Random) -> Iterator[str]:
    """Sentences that name words by fours, sometimes with a capital."""
    rng.shuffle(rare)
    for four in zip(*(rare[start::4] for start in range(4)), strict=False):
        start = rng.choice(("We talked about", "The words were", "She wrote", "I heard", "They spelled", "Next come"))
        first, second, third, fourth = map(rng.choice((str, str, str, str.title)), four)
        yield f"{start} {first}, {second}, {third}, and {fourth}."


def pairs(sentences: Sequence[str], count: int, rng: random.Random) -> Iterator[str]:
    """Texts of two sentences."""
    for _ in range(count):
        text = " ".join(rng.sample(sentences, 2))
        if len(text.split()) <= MOST_WORDS:
            yield text


def joined(sentences: Sequence[str], count: int, rng: random.Random) -> Iterator[str]:
    """Longer sentences, each joined from two.

    Their first words may go without their capital.
    """
    clauses = [clause for sentence in sentences if (clause := _CLAUSE.fullmatch(sentence))]
    for _ in range(count):
        first, second = rng.sample(clauses, 2)
        joint = rng.choice((", and", ", but", ", so", " because", " while", " when", " before"))
        yield f"{first[1]}{first[2]}{joint} {second[1].lower()}{second[2]}."


def careless(sentence: str, rng: random.Random) -> str:
    """`sentence`; sometimes in lower case, sometimes without its full stop."""
    chance = rng.random()
    if chance < _CARELESS:
        return sentence.lower()
    return sentence.removesuffix(".") if chance < 2 * _CARELESS else sentence


def held_out() -> list[str]:
    """Sentences spoken to judge a voice, left out of training."""
    lines = [line for path in HELD_OUT for line in path.read_text("utf-8").splitlines()]
    return [line for line in lines if line[0] not in "#@"]


def facts(sentences: list[str], common: set[str]) -> dict[str, int | float]:
    """Size of a corpus, with its coverage."""
    frequency = Counter(word for sentence in sentences for word in words(sentence))
    return {
        "sentences": len(sentences),
        "words": sum(len(sentence.split()) for sentence in sentences),
        "different words": len(frequency),
        f"of the {len(common)} commonest": sum(word in frequency for word in common),
        f"of these {TIMES} times or more": sum(frequency[word] >= TIMES for word in common),
    }


def _pieces(sentence: str) -> set[str]:
    """All runs of `SHARED_WORDS` words, else the whole sentence."""
    spoken = words(sentence)
    size = max(1, min(SHARED_WORDS, len(spoken)))
    return {" ".join(spoken[start : start + size]) for start in range(len(spoken) - size + 1)}


def _sample(items: Iterable[_Item], most: int, rng: random.Random) -> list[_Item]:
    """At most `most` of the different items, in random order."""
    different = list(dict.fromkeys(items))
    return rng.sample(different, min(most, len(different)))


if __name__ == "__main__":
    main()
