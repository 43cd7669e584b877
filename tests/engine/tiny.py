"""Small real parts for tests: the tiny checkpoints' configuration and tokenizer, without weights."""

from functools import cache

from engine.checkpoint.config import ModelConfig
from engine.checkpoint.dummy.configs import main_config
from engine.checkpoint.dummy.tokenizer import tiny_vocabulary
from engine.prompt.tokenizer import TextTokenizer


@cache
def tiny_config(kind: str = "1.7B-CustomVoice") -> ModelConfig:
    """The configuration of a tiny checkpoint."""
    vocabulary = tiny_vocabulary()
    return ModelConfig.from_json(main_config(kind, "tiny", vocabulary.config_ids, vocabulary.rows))


@cache
def tiny_tokenizer() -> TextTokenizer:
    """The tokenizer of every tiny checkpoint."""
    vocabulary = tiny_vocabulary()
    return TextTokenizer(vocabulary.entries, vocabulary.merges, "qwen2")
