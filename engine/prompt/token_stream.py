"""Token ids of a growing text.

Only ids that later text cannot change come out.
"""

import re

from engine.prompt.tokenizer import TextTokenizer

# A prompt's text is tokenised together with the chat turn's heading, whose newline may merge with the text's first.
HEADING = "assistant\n"

# A letter or a number of any script. The four fillers of Hangul count as letters, but are blank.
_SPOKEN = re.compile("[^\\W_\u115f\u1160\u3164\uffa0]")


def speakable(text: str) -> bool:
    """Whether `text` holds a letter or a number.

    Punctuation, signs, emoji and what is invisible make no speech.
    """
    return _SPOKEN.search(text) is not None


class TokenStream:
    """Streaming tokenizer of pieces of any size.

    The ids returned by all calls together equal those of the whole text at once.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._open = HEADING

    def push(self, text: str) -> list[int]:
        """Append `text` verbatim; return the ids that became final."""
        grows = text.isalpha() and self._open[-1:].isalpha()
        self._open += text
        if grows:  # a word that only grows settles nothing, and without spaces it may grow long
            return []
        ids, self._open = self._tokenizer.encode_stable(self._open)
        return ids

    def end(self) -> list[int]:
        """Remaining ids, once; no text may follow."""
        rest, self._open = self._open, ""
        return self._tokenizer.encode(rest) if rest else []
