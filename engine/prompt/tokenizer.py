"""Text to token ids: the checkpoint's byte-level BPE.

The word-split pattern is an explicit choice.
"""

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from engine.api.config import Split
from engine.api.errors import CheckpointError

# The patterns are part of the models' definition: Qwen2's own, and the one transformers substitutes (see EngineConfig).
SPLITS: Mapping[Split, str] = {
    "qwen2": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "mistral": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}


class TextTokenizer:
    """Tokenizer: NFC, split, byte-level BPE.

    Spellings of control tokens inside text stay text.
    """

    def __init__(self, vocab: dict[str, int], merges: list[tuple[str, str]], split: Split) -> None:
        self._bpe = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        self._bpe.normalizer = normalizers.NFC()
        self._bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLITS[split]), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )

    @classmethod
    def load(cls, folder: Path, split: Split) -> "TextTokenizer":
        """Tokenizer of vocab.json, merges.txt.

        Raises `CheckpointError` when one is missing or broken.
        """
        try:
            vocab, merges = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        except Exception as error:  # the library raises bare Exception for a missing or broken file
            raise CheckpointError(f"{folder}: vocab.json or merges.txt cannot be read: {error}") from error
        return cls(vocab, merges, split)

    def encode(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        ids: list[int] = self._bpe.encode(text, add_special_tokens=False).ids
        return ids

    def encode_stable(self, text: str) -> tuple[list[int], str]:
        """Ids of the leading words of `text`, with its rest.

        No continuation can change these ids.
        A word is settled once another word follows it that is not white space, which may still join what comes, and
        that does not go on with the same run of letters, which a pattern may divide in another way when it has grown.
        The rest is normalised, so that offsets of words are positions in it.
        """
        text = unicodedata.normalize("NFC", text)
        encoding = self._bpe.encode(text, add_special_tokens=False)
        words = encoding.word_ids
        open_word = _last_word(text, words, encoding.offsets)
        if open_word is None:
            return [], text
        settled = words.index(open_word)
        return encoding.ids[:settled], text[encoding.offsets[settled][0] :]


def _last_word(text: str, words: list[int], offsets: list[tuple[int, int]]) -> int | None:
    """Index of the last word that begins a new run.

    Not white space alone, and no continuation of a run of letters and marks.
    """
    for word, (start, end) in zip(reversed(words), reversed(offsets), strict=True):
        if not text[start:end].isspace() and not _goes_on(text, start):
            return word
    return None


def _goes_on(text: str, place: int) -> bool:
    """Whether the character at `place` continues a run.

    A mark does, or a letter after a letter or a mark.
    """
    category = unicodedata.category(text[place])
    after_letter = place > 0 and unicodedata.category(text[place - 1])[0] in "LM"
    return category[0] == "M" or (category[0] == "L" and after_letter)
