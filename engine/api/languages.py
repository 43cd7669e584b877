"""Language names of checkpoints, by names or codes."""

import re

from engine.api.errors import InvalidRequest

# ISO 639-1, and the code of BCP 47 for Mandarin by itself; those of fine-tuned checkpoints too.
_NAMES = {
    "ar": "arabic", "bg": "bulgarian", "bn": "bengali", "ca": "catalan", "cmn": "chinese", "cs": "czech",
    "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish", "et": "estonian",
    "fa": "persian", "fi": "finnish", "fr": "french", "he": "hebrew", "hi": "hindi", "hr": "croatian",
    "hu": "hungarian", "id": "indonesian", "it": "italian", "ja": "japanese", "ko": "korean", "lt": "lithuanian",
    "lv": "latvian", "ms": "malay", "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sk": "slovak", "sl": "slovenian", "sr": "serbian", "sv": "swedish",
    "ta": "tamil", "te": "telugu", "th": "thai", "tr": "turkish", "uk": "ukrainian", "ur": "urdu",
    "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip
_DETECT = frozenset({"", "auto", "und"})
_TAG = re.compile(
    r"([a-z]{2,3})(?:[-_][a-z0-9]{1,8})*(?:[.@][a-z0-9-]+)*", re.IGNORECASE
)  # "zh-Hans-CN", "en_US.UTF-8"


def language_name(language: str) -> str:
    """Lower-case language name; empty for detection.

    `language`: a name, an ISO 639-1 code, a BCP 47 tag or a locale.
    """
    name = language.strip().lower()
    tag = _TAG.fullmatch(name)
    code = tag[1] if tag else name
    return "" if name in _DETECT or code == "und" else _NAMES.get(code, name)


def unknown_language(language: str, known: tuple[str, ...]) -> InvalidRequest:
    """Error for a language that is not in `known`."""
    return InvalidRequest(
        "language", f"{language!r} is not one of {', '.join(known)}, nor a code such as 'en' or 'zh-CN'"
    )
