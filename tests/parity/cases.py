"""What is compared: checkpoints of every kind and several sizes, and on each the speeches that exercise its modes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.api.config import Split
from engine.api.request import TextMode
from engine.checkpoint.dummy.tokenizer import REAL_ENTRIES

WHOLE, INCREMENTAL = TextMode.WHOLE, TextMode.INCREMENTAL
UNASKED = None  # each side has its own default

SHORT = "Hi."
PLAIN = "Hello world, how is the light of this morning?"
CHINESE = "你好，世界。今天是的。"
MIXED = "\nHello, 世界! Привет мир — café, naïve;\n\nこんにちは 42 안녕 🙂"
LONG = "The quick brown river is in the old world, and every little word was said after the first one. " * 3
CAMEL = "My iPhone and McDonald's eBay\n\n order: HTTPServer  v2.0!"


@dataclass(frozen=True, slots=True)
class Recording:
    """A reference recording of `seconds`, made from `seed`; without a transcript only the embedding is used."""

    seconds: float
    transcript: str = ""
    seed: int = 0

    def samples(self) -> npt.NDArray[np.float32]:
        """A gliding tone with noise: mono at 24 kHz."""
        time = np.arange(round(self.seconds * 24_000)) / 24_000
        noise = np.random.default_rng(self.seed).standard_normal(time.size)
        tone = np.sin(2 * np.pi * (150 + 40 * self.seed + 60 * time) * time)
        return (0.2 * tone * (0.6 + 0.4 * np.sin(9 * time)) + 0.02 * noise).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Case:
    """One speech, greedy, of at most `frames` frames."""

    name: str
    text: str = PLAIN
    mode: TextMode | None = INCREMENTAL
    voice: str = ""
    language: str = ""
    instructions: str = ""
    recording: Recording | None = None
    frames: int = 12


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A checkpoint to write, and the speeches to make with it."""

    name: str
    kind: str
    cases: tuple[Case, ...]
    seed: int = 0
    eos_scale: float = 1.6
    text_vocab: int | None = None
    split: Split = "qwen2"
    config: dict[str, Any] = field(default_factory=dict)
    codec: dict[str, Any] = field(default_factory=dict)


CUSTOM_VOICE = (
    Case("vivian-auto", voice="vivian", frames=24),  # past the end of its text
    Case("vivian-auto-whole", voice="vivian", mode=WHOLE),
    Case("ryan-english-short", SHORT, voice="Ryan", language="English"),
    Case("ryan-english-short-whole", SHORT, WHOLE, voice="Ryan", language="English"),
    Case("dialect-by-chinese", CHINESE, voice="eric", language="Chinese"),
    Case("dialect-by-auto", CHINESE, WHOLE, voice="dylan"),
    Case("dialect-speaker-in-english", voice="dylan", language="english"),
    Case("mixed-scripts", MIXED, voice="sohee"),
    Case("newline-first", MIXED, WHOLE, voice="ono_anna", language="japanese"),
    Case("long", LONG, voice="serena", language="russian", frames=32),
    Case("long-whole", LONG, WHOLE, voice="uncle_fu", frames=20),
    Case("unasked", MIXED, UNASKED, voice="aiden"),
    Case("unasked-dialect", CHINESE, UNASKED, voice="eric", language="zh-CN"),
)
INSTRUCTED = (
    Case("instructed", voice="serena", language="english", instructions="Very happy, like a small river."),
    Case("instructed-whole", CHINESE, WHOLE, voice="eric", instructions="慢\nslow"),
)
VOICE_DESIGN = (
    Case("described", instructions="An old man, good and happy.", language="english", frames=24),
    Case("described-whole", MIXED, WHOLE, instructions="A young woman.\n你好"),
    Case("not-described", SHORT),
    Case("not-described-whole", LONG, WHOLE, language="french", frames=20),
    Case("described-unasked", MIXED, UNASKED, instructions="An old woman.", language="German"),
    Case("described-long", LONG, instructions="A voice of light", language="chinese", frames=32),
)
CLONE = (
    Case("in-context", recording=Recording(1.3, "good morning, hello", 1), language="english", frames=24),
    Case("in-context-whole", mode=WHOLE, recording=Recording(1.3, "good morning, hello", 1)),
    Case("in-context-text-shorter", SHORT, recording=Recording(4.0, "Hello.", 2), language="chinese"),
    Case("in-context-text-longer", LONG, recording=Recording(0.4, "你好 " * 12, 3), frames=24),
    Case("in-context-whole-long", LONG, WHOLE, recording=Recording(2.24, MIXED, 4), language="german"),
    Case("in-context-unasked", LONG, UNASKED, recording=Recording(1.3, "good morning, hello", 1), frames=20),
    Case("embedding-unasked", MIXED, UNASKED, recording=Recording(1.0, seed=8), language="spanish"),
    Case("embedding", recording=Recording(1.0, seed=5), language="english", frames=24),
    Case("embedding-whole", MIXED, WHOLE, recording=Recording(2.7, seed=6)),
    Case("embedding-short", SHORT, recording=Recording(0.5, seed=7), language="korean"),
)


def _some(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Every other case, and each way to place the text: for a size whose prompts are those of another."""
    return tuple(case for number, case in enumerate(cases) if number % 2 == 0 or case.mode is UNASKED)


_OTHER_SIZES = {  # another ratio of heads, other widths and depths
    "talker_config": {
        "hidden_size": 80,
        "intermediate_size": 144,
        "num_attention_heads": 6,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "text_hidden_size": 56,
        "code_predictor_config": {
            "hidden_size": 32,
            "intermediate_size": 80,
            "layer_types": ["full_attention"] * 3,
            "num_attention_heads": 2,
            "num_hidden_layers": 3,
            "num_key_value_heads": 1,
        },
    }
}
_OTHER_CODEC = {
    "decoder_config": {
        "decoder_dim": 48,
        "head_dim": 8,
        "hidden_size": 40,
        "latent_dim": 24,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "sliding_window": 16,
    },
    "encoder_config": {"num_filters": 6, "num_hidden_layers": 3},
}

SUBJECTS = (
    Subject("0.6B-CustomVoice", "0.6B-CustomVoice", CUSTOM_VOICE),
    Subject("1.7B-CustomVoice", "1.7B-CustomVoice", _some(CUSTOM_VOICE) + INSTRUCTED, seed=1),
    Subject("1.7B-VoiceDesign", "1.7B-VoiceDesign", VOICE_DESIGN, seed=2),
    Subject("0.6B-Base", "0.6B-Base", CLONE, seed=3),
    Subject("1.7B-Base", "1.7B-Base", _some(CLONE), seed=4),
    Subject(
        "other-sizes-CustomVoice",
        "1.7B-CustomVoice",
        CUSTOM_VOICE[:4] + INSTRUCTED,
        seed=5,
        config=_OTHER_SIZES,
        codec=_OTHER_CODEC,
    ),
    Subject(
        "other-sizes-Base",
        "1.7B-Base",
        CLONE[:6],
        seed=6,
        config=_OTHER_SIZES | {"speaker_encoder_config": {"enc_dim": 80}},
        codec=_OTHER_CODEC,
    ),
    Subject(
        "many-ends",
        "1.7B-CustomVoice",
        tuple(
            Case(f"{voice}-{language}", voice=voice, language=language, frames=24)
            for voice in ("aiden", "sohee", "vivian")
            for language in ("", "english", "italian")
        ),
        seed=7,
        eos_scale=3.0,
    ),
    Subject(
        "never-ends",
        "0.6B-CustomVoice",
        (
            Case("160-frames", LONG, voice="ryan", frames=160),
            Case("30-frames-whole", LONG, WHOLE, voice="aiden", frames=30),
        ),
        seed=8,
        eos_scale=0.0,
    ),
    Subject(
        "full-vocabulary",
        "0.6B-CustomVoice",
        (Case("camel-case", CAMEL, voice="ryan"), Case("camel-case-whole", CAMEL, WHOLE, voice="ryan")),
        seed=9,
        text_vocab=REAL_ENTRIES,
        split="mistral",
    ),
)
