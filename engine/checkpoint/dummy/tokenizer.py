"""Small byte-level BPE vocabulary in place of the real one."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.checkpoint.dummy.configs import Json

REAL_ENTRIES = 151_643  # entries of the published vocabulary; its added tokens follow

_CONTROL = """<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>
<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>""".split()
_PLAIN = """<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>
<tool_response> </tool_response> <think> </think>""".split()
_AUDIO = """<|audio_start|> <|audio_end|> <tts_pad> <tts_text_bos> <tts_text_eod> <tts_text_bos_single>
<|audio_pad|>""".split()
ADDED = (*_CONTROL, *_PLAIN, *_AUDIO)

_ROLES = ("assistant", "user")  # prompts are sliced by position, so each must be one token; first, so that they merge
_WORDS = """the of and to in is that it for on are was with this you be at have from not or by we can all will one about
up out so what time when there said how hear voice speech hello world sentence word first day light water good morning
happy old man young woman small river every little long after before quick brown speak listen""".split()
_PIECES = ["ing", "er", "ed", "tion", "ly", "Hello", "The", "'s", "...", "\n\n", "é", "ü", "ñ"]
_OTHER_SCRIPTS = ["你好", "世界", "今天", "的", "是", "我", "。", "，", "こんにちは", "です", "안녕", "Привет", "мир"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Byte-level BPE vocabulary.

    `entries` map spellings to ids, `merges` in order of rank; the added tokens come after.
    """

    entries: dict[str, int]
    merges: list[tuple[str, str]]

    @property
    def added(self) -> dict[str, int]:
        """Ids of the control tokens, in the published order."""
        return {token: len(self.entries) + i for i, token in enumerate(ADDED)}

    @property
    def rows(self) -> int:
        """Rows that a text embedding needs."""
        return len(self.entries) + len(ADDED)

    @property
    def config_ids(self) -> Json:
        """Text ids that config.json names."""
        added = self.added
        return {
            "assistant_token_id": self.entries["assistant"],
            "im_end_token_id": added["<|im_end|>"],
            "im_start_token_id": added["<|im_start|>"],
            "tts_bos_token_id": added["<tts_text_bos>"],
            "tts_eos_token_id": added["<tts_text_eod>"],
            "tts_pad_token_id": added["<tts_pad>"],
        }


def tiny_vocabulary(entries: int | None = None) -> Vocabulary:
    """Vocabulary of a few hundred tokens.

    Filled up to `entries` with ones that no text contains.
    """
    words = (*_ROLES, *(f" {word}" for word in _WORDS), *_PIECES, *_OTHER_SCRIPTS)
    vocabulary = learned(words)
    known = len(vocabulary.entries)
    filler = {f"unused {i}": i for i in range(known, entries or known)}  # a raw space never reaches byte-level BPE
    return Vocabulary(vocabulary.entries | filler, vocabulary.merges)


def write_tokenizer(folder: Path, vocabulary: Vocabulary) -> None:
    """Write vocab.json, merges.txt, tokenizer_config.json.

    As in a published checkpoint.
    """
    entries = json.dumps(vocabulary.entries, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(entries, encoding="utf-8")
    merges = "".join(f"{left} {right}\n" for left, right in vocabulary.merges)
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    config = json.dumps(_tokenizer_config(vocabulary), indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")


def learned(words: Iterable[str]) -> Vocabulary:
    """Vocabulary of single bytes that makes `words` one token each."""
    spelling = _byte_spelling()
    entries = {character: i for i, character in enumerate(sorted(spelling))}
    merges: list[tuple[str, str]] = []
    for word in words:
        left, *rest = (spelling[byte] for byte in word.encode())
        for right in rest:
            if left + right not in entries:
                entries[left + right] = len(entries)
                merges.append((left, right))
            left += right
    return Vocabulary(entries, merges)


def _byte_spelling() -> list[str]:
    """Printable character of each byte.

    Itself if printable in Latin-1, else one from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    replacements = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(replacements)) for byte in range(256)]


def _tokenizer_config(vocabulary: Vocabulary) -> Json:
    roles = {
        "image_token": "<|image_pad|>",
        "audio_token": "<|audio_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
    }
    special = [t for t in ADDED if t not in (*_PLAIN, "<|endoftext|>", "<tts_text_eod>")]
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(i): _added_token(token) for token, i in vocabulary.added.items()},
        "additional_special_tokens": special,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "extra_special_tokens": roles,
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
        **roles,
    }


def _added_token(token: str) -> Json:
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"content": token, **flags, "special": token not in _PLAIN}
