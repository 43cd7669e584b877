"""Text tokens of the embedded voice.

Bytes, the two roles, and the commonest pieces of English words.
"""

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from engine.checkpoint.dummy.tokenizer import Vocabulary, learned
from engine.prompt.tokenizer import SPLITS, TextTokenizer

ENTRIES = 2_000  # pieces of 2.7 characters: beside a frame each, text runs well ahead of what is said of it
ROLES = ("assistant", "user")  # prompts are cut by position, so each must be one token


def train_subwords(texts: Iterable[str], entries: int = ENTRIES) -> Vocabulary:
    """Byte-level BPE over `texts`, whose first merges make the roles."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLITS["qwen2"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=entries, initial_alphabet=bytes_, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    return _joined(learned(ROLES), json.loads(bpe.to_str())["model"]["merges"])


class LooseTokenizer(TextTokenizer):
    """Tokenizer that leaves out merges at random.

    A talker then meets words in other pieces too (Provilkov et al. 2020).
    """

    def __init__(self, words: Vocabulary, dropout: float) -> None:
        super().__init__(words.entries, words.merges, "qwen2")
        self._bpe.model.dropout = dropout


def _joined(roles: Vocabulary, merges: Iterable[tuple[str, str]]) -> Vocabulary:
    entries, order = dict(roles.entries), list(roles.merges)
    for left, right in merges:
        if left in entries and right in entries and left + right not in entries:
            entries[left + right] = len(entries)
            order.append((left, right))
    return Vocabulary(entries, order)
