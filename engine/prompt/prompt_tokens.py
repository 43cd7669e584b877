"""Prompt of a speech as a table of integers.

Every token is one text id plus codec ids, or plus the speaker's vector.
After the prefix, one rule covers prompt and decoding alike: token i holds text[i] and codes[i], where the text is the
body's tokens, then end-of-text, then padding for ever, and the codes are begin-of-speech, the reference recording's
frames (in-context cloning) and then the generated frames. The two text modes differ in the prefix alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

from engine.api.languages import language_name, unknown_language
from engine.api.voice import Voice
from engine.checkpoint.config import ModelConfig


class PromptToken(NamedTuple):
    """One position: a text id plus codec ids.

    `codes`: none, one for codebook 0, or one a codebook.
    """

    text: int
    codes: tuple[int, ...]


VECTOR: tuple[int, ...] = (-1,)  # in `PromptToken.codes`: the place of the speaker's vector


def language_row(config: ModelConfig, language: str, voice: Voice) -> int | None:
    """Codec row of a language; None for detection.

    A dialect speaker's Chinese is a dialect.
    `language` as in `language_name`. Raises `InvalidRequest` for one that the checkpoint does not list.
    """
    name = language_name(language)
    if voice.dialect and name in ("", "chinese"):
        return config.languages[voice.dialect]
    if not name:
        return None
    if name not in languages(config):
        raise unknown_language(language, languages(config))
    return config.languages[name]


def languages(config: ModelConfig) -> tuple[str, ...]:
    """Languages that requests may name.

    Dialects come with their speakers only.
    """
    return tuple(sorted(name for name in config.languages if "dialect" not in name))


def prefix(
    config: ModelConfig, role: Sequence[int], instruct: Sequence[int], language: int | None, voice: Voice
) -> list[PromptToken]:
    """Tokens before the text.

    The instruction, the role's three ids, language tags, the speaker, begin-of-text.
    """
    text, codec = config.text, config.codec
    tags = _tags(config, language)
    speaker = [_speaker(voice)] if voice.is_given else []
    under_pad = [PromptToken(text.tts_pad, (tag,)) for tag in tags] + [
        PromptToken(text.tts_pad, codes) for codes in speaker
    ]
    return (
        [PromptToken(token, ()) for token in (*instruct, *role)] + under_pad + [PromptToken(text.tts_bos, (codec.pad,))]
    )


def whole_text(config: ModelConfig, body: Sequence[int]) -> list[PromptToken]:
    """Rest of the prefix in whole mode.

    Each text token stands beside a codec pad.
    """
    return [PromptToken(token, (config.codec.pad,)) for token in (*body, config.text.tts_eos)]


def _tags(config: ModelConfig, language: int | None) -> tuple[int, ...]:
    codec = config.codec
    if language is None:
        return (codec.nothink, codec.think_bos, codec.think_eos)
    return (codec.think, codec.think_bos, language, codec.think_eos)


def _speaker(voice: Voice) -> tuple[int, ...]:
    return VECTOR if voice.row is None else (voice.row,)
