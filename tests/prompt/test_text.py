"""A growing text gives the ids of the whole, wherever it is cut."""

import tempfile
import unicodedata
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from engine.api.config import Split
from engine.api.errors import CheckpointError
from engine.prompt.token_stream import HEADING, TokenStream
from engine.prompt.tokenizer import TextTokenizer
from tests.engine.tiny import tiny_tokenizer

SPLITS: tuple[Split, ...] = ("qwen2", "mistral")
ALPHABETS = (
    "abcdeXYZ",
    "'’`",
    "stremldSTREMLD'",
    " \t\u00a0\u2003\u3000\u2028",
    "\r\n \n",
    '.,!?/-()[]{}<>=≠"',
    "0123456789½①",
    "e\u0301\u0323\u0307\u0344a\u030aA\u0327s\u0323\u1e9b\u0345",  # marks that compose, in every order
    "\u1100\u1161\u11a8\u1112\u1175\uac00",  # Hangul jamo, which compose without being marks
    "\u09c7\u09be\u09d7\u0995\u09cd\u0b95\u0bc6\u0bbe\u0ddc\u0dcf",  # vowel signs that compose likewise
    "你好世界。，、！\uf900\u2f00",
    "こんか\u3099は\u309aカ\u3099です",
    "안녕Привет мир",
    "😀👍🏽\u200d❤\ufe0f🇩🇪",
    "\u212b\u2126\u1e0a\u0338<>",
    "<|im_end|><tts_pad>",
)
texts = st.lists(
    st.sampled_from(ALPHABETS).flatmap(lambda alphabet: st.text(alphabet, min_size=1, max_size=5)), max_size=9
).map("".join)


@cache
def busy_tokenizer(split: Split) -> TextTokenizer:
    """Its merges reach over letters, marks, spaces and punctuation, so that a wrong word shows in the ids."""
    corpus = ["".join(ALPHABETS) * 2, *("".join(a + b) for a in ALPHABETS for b in ALPHABETS)]
    corpus += [f"{word} {word}'s\n{word}," for word in ("abc", "Xab", "de", "assistant")]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(
        [unicodedata.normalize("NFC", line) for line in corpus],
        trainers.BpeTrainer(vocab_size=2_000, initial_alphabet=alphabet, show_progress=False),
    )
    with tempfile.TemporaryDirectory() as folder:
        trained.model.save(folder)
        return TextTokenizer.load(Path(folder), split)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize("split", SPLITS)
@settings(max_examples=600, deadline=None)
@given(pieces=cut_texts())
@example(pieces=list("it's, they'll. We'VE"))
@example(pieces=list("e\u0323\u0301 q\u0323\u0307"))
@example(pieces=list("\u1112\u1161\u11ab\u1100\u1173\u11af"))
@example(pieces=["\u0995", "\u09c7", "\u09be"])
@example(pieces=list("\nHello  \r\n\r\n  world \n"))
@example(pieces=list("HTTPServer iPhone eBay"))
@example(pieces=["XX <\u041f\ub155\u041f", "a"])
def test_any_cut_of_any_text_gives_the_ids_of_the_whole(split: Split, pieces: list[str]) -> None:
    tokenizer = busy_tokenizer(split)
    stream = TokenStream(tokenizer)
    ids = [token for piece in pieces for token in stream.push(piece)]
    assert ids + stream.end() == tokenizer.encode(HEADING + "".join(pieces))


def test_the_merges_of_this_test_tell_words_apart() -> None:
    """Otherwise the test above could not fail."""
    text = "it's, abc def"
    assert busy_tokenizer("qwen2").encode(text) != [t for c in text for t in busy_tokenizer("qwen2").encode(c)]


@pytest.mark.parametrize("split", SPLITS)
def test_words_come_out_as_soon_as_the_next_begins(split: Split) -> None:
    tokenizer = busy_tokenizer(split)
    stream = TokenStream(tokenizer)
    known = stream.push("Hello")
    known += stream.push(" wor")
    assert known == tokenizer.encode(HEADING + "Hello")
    known += stream.push("ld, and")
    assert known == tokenizer.encode(HEADING + "Hello world,")
    assert known + stream.end() == tokenizer.encode(HEADING + "Hello world, and")


def test_a_long_text_in_single_characters_takes_no_long_time() -> None:
    """The words that are settled are not looked at again, and a word that only grows is not either."""
    for text in ("word " * 2_000, "x" * 10_000):
        stream = TokenStream(tiny_tokenizer())
        ids = [token for character in text for token in stream.push(character)]
        assert ids + stream.end() == tiny_tokenizer().encode(HEADING + text)


def test_the_two_patterns_differ_where_they_should() -> None:
    words = {split: len(busy_tokenizer(split).encode("abcXYZ")) for split in SPLITS}
    pieces = {split: busy_tokenizer(split).encode("abc") + busy_tokenizer(split).encode("XYZ") for split in SPLITS}
    assert words["mistral"] == len(pieces["mistral"])
    assert busy_tokenizer("mistral").encode("abcXYZ") == pieces["mistral"]


def test_control_tokens_in_a_text_are_text() -> None:
    ids = tiny_tokenizer().encode("<|im_end|><tts_pad>")
    assert max(ids) < 570
    assert len(ids) > 2


def test_a_checkpoint_without_its_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        TextTokenizer.load(tmp_path, "qwen2")
    (tmp_path / "vocab.json").write_text("[]")
    (tmp_path / "merges.txt").write_text("a b\n")
    with pytest.raises(CheckpointError):
        TextTokenizer.load(tmp_path, "qwen2")
