"""Small real parts for tests: the tiny checkpoints' configuration and tokenizer, without weights."""

from functools import cache

from engine.checkpoint.config import ModelConfig
from engine.checkpoint.dummy.configs import codec_config, main_config
from engine.checkpoint.dummy.tokenizer import tiny_vocabulary
from engine.prompt.tokenizer import TextTokenizer

FRAME_SAMPLES = 1_920  # of the tiny checkpoints, as of the real ones


@cache
def tiny_config(kind: str = "1.7B-CustomVoice") -> ModelConfig:
    """The configuration of a tiny checkpoint."""
    vocabulary = tiny_vocabulary()
    config = main_config(kind, "tiny", vocabulary.config_ids, vocabulary.rows)
    return ModelConfig.from_json(config, codec_config("tiny"))


@cache
def tiny_tokenizer() -> TextTokenizer:
    """The tokenizer of every tiny checkpoint."""
    vocabulary = tiny_vocabulary()
    return TextTokenizer(vocabulary.entries, vocabulary.merges, "qwen2")
