"""Prompts are tables: the published layouts, column by column."""

import numpy as np
import pytest

from engine.api.errors import InvalidRequest, Unsupported, VoiceNotFound
from engine.api.request import Delivery, Reference, SpeechRequest, TextMode
from engine.api.voice import UNSPECIFIED, Voice
from engine.prompt.builder import PromptBuilder, PromptLayout
from engine.prompt.prompt_tokens import VECTOR, PromptToken, language_row, languages
from engine.scheduler.segment import Segment
from tests.engine.tiny import tiny_config, tiny_tokenizer

CONFIG = tiny_config()
START, STOP = CONFIG.text.im_start, CONFIG.text.im_end
PAD, BEGIN, END = CONFIG.text.tts_pad, CONFIG.text.tts_bos, CONFIG.text.tts_eos
ASSISTANT, USER, NEWLINE = (tiny_tokenizer().encode(text)[0] for text in ("assistant", "user", "\n"))
CODEC_PAD, CODEC_BEGIN = 2148, 2149
THINK, NO_THINK, THINK_BEGIN, THINK_END = 2154, 2155, 2156, 2157
AUTO, ENGLISH = (NO_THINK, THINK_BEGIN, THINK_END), (THINK, THINK_BEGIN, 2050, THINK_END)
SICHUAN = (THINK, THINK_BEGIN, 2062, THINK_END)
RYAN, ERIC = 3061, 2875

ROLE = [PromptToken(START, ()), PromptToken(ASSISTANT, ()), PromptToken(NEWLINE, ())]
BODY = tiny_tokenizer().encode("Hello world.")
FRAMES = [tuple(range(n, n + 16)) for n in (100, 200, 300)]
RECORDING = np.array(FRAMES, np.int32)
EMBEDDING = np.zeros(48, np.float32)
SPOKEN = tiny_tokenizer().encode("the sentence")


def under_pad(*codes: int) -> list[PromptToken]:
    return [PromptToken(PAD, (code,)) for code in codes]


def head(tags: tuple[int, ...], speaker: list[PromptToken]) -> list[PromptToken]:
    return ROLE + under_pad(*tags) + speaker + [PromptToken(BEGIN, (CODEC_PAD,))]


def beside_pad(texts: list[int]) -> list[PromptToken]:
    return [PromptToken(text, (CODEC_PAD,)) for text in texts]


def layouts(kind: str) -> PromptBuilder:
    return PromptBuilder(tiny_config(kind), tiny_tokenizer(), None)


def table(layout: PromptLayout, text: str, made: int = 0) -> list[PromptToken]:
    """The columns of a prompt and of `made` frames after it."""
    segment = Segment(layout, tiny_tokenizer(), 0, 0)
    segment.append(text)
    segment.end(None)
    for number in range(made):
        segment.launched += 1
        segment.frames.append((1_000 + number,) * 16)
    return segment.inputs(0, segment.position + 1)


def asked(mode: TextMode, **fields: object) -> SpeechRequest:
    return SpeechRequest(delivery=Delivery(text_mode=mode), **fields)  # type: ignore[arg-type]


def live(texts: list[int], codes: list[tuple[int, ...]]) -> list[PromptToken]:
    return [PromptToken(*pair) for pair in zip(texts, codes, strict=True)]


def made(count: int) -> list[tuple[int, ...]]:
    return [(1_000 + number,) * 16 for number in range(count)]


@pytest.mark.parametrize(
    ("speaker", "language", "tags", "row"),
    [
        ("Ryan", "", AUTO, RYAN),
        ("ryan", "Auto", AUTO, RYAN),
        ("ryan", "English", ENGLISH, RYAN),
        ("eric", "english", ENGLISH, ERIC),
        ("eric", "", SICHUAN, ERIC),
        ("eric", "Chinese", SICHUAN, ERIC),
        ("ryan", "chinese", (THINK, THINK_BEGIN, 2055, THINK_END), RYAN),
    ],
)
def test_custom_voice(speaker: str, language: str, tags: tuple[int, ...], row: int) -> None:
    shared = head(tags, under_pad(row))
    of = layouts("1.7B-CustomVoice").build
    streamed = of(asked(TextMode.INCREMENTAL, voice=speaker, language=language))
    assert table(streamed, "Hello world.") == [*shared, PromptToken(BODY[0], (CODEC_BEGIN,))]
    count = len(BODY) + 2
    assert table(streamed, "Hello world.", count) == shared + live(
        [*BODY, END, PAD, PAD], [(CODEC_BEGIN,), *made(count)]
    )
    whole = of(asked(TextMode.WHOLE, voice=speaker, language=language))
    prompt = shared + beside_pad([*BODY, END])
    assert table(whole, "Hello world.") == [*prompt, PromptToken(PAD, (CODEC_BEGIN,))]
    assert table(whole, "Hello world.", 2) == prompt + live([PAD] * 3, [(CODEC_BEGIN,), *made(2)])


def test_instructions_come_first_as_a_turn_of_the_user() -> None:
    encode = tiny_tokenizer().encode
    turn = [START, USER, NEWLINE, *encode("Be happy."), STOP, NEWLINE]
    instruct = [PromptToken(token, ()) for token in turn]
    request = asked(TextMode.INCREMENTAL, voice="ryan", instructions="Be happy.")
    with_them = table(layouts("1.7B-CustomVoice").build(request), "Hello world.")
    assert with_them == [*instruct, *head(AUTO, under_pad(RYAN)), PromptToken(BODY[0], (CODEC_BEGIN,))]
    small = layouts("0.6B-CustomVoice").build(request)
    assert table(small, "Hello world.") == with_them[len(instruct) :]
    design = asked(TextMode.INCREMENTAL, instructions="Be happy.", language="english")
    assert table(layouts("1.7B-VoiceDesign").build(design), "Hello world.") == [
        *instruct,
        *head(ENGLISH, []),
        PromptToken(BODY[0], (CODEC_BEGIN,)),
    ]


def test_clone_from_the_embedding_alone() -> None:
    request = asked(TextMode.INCREMENTAL, kept=Voice(embedding=EMBEDDING))
    assert table(layouts("0.6B-Base").build(request), "Hello world.") == [
        *head(AUTO, [PromptToken(PAD, VECTOR)]),
        PromptToken(BODY[0], (CODEC_BEGIN,)),
    ]


def test_clone_with_a_transcript_reads_recording_and_text_as_one() -> None:
    voice = Voice(embedding=EMBEDDING, codes=RECORDING, transcript="the sentence")
    shared = head(AUTO, [PromptToken(PAD, VECTOR)])
    codes = [(CODEC_BEGIN,), *FRAMES]
    texts = [*SPOKEN, *BODY, END]
    assert len(texts) > len(codes)
    streamed = layouts("0.6B-Base").build(asked(TextMode.INCREMENTAL, kept=voice))
    assert table(streamed, "Hello world.") == shared + live(texts[:4], codes)
    count = len(texts)
    assert table(streamed, "Hello world.", count) == shared + live(texts + [PAD] * 4, codes + made(count))
    whole = layouts("0.6B-Base").build(asked(TextMode.WHOLE, kept=voice))
    assert table(whole, "Hello world.", 1) == shared + beside_pad(texts) + live([PAD] * 5, codes + made(1))


def test_clone_of_a_recording_longer_than_the_text() -> None:
    frames = np.arange(20 * 16, dtype=np.int32).reshape(20, 16)
    voice = Voice(embedding=EMBEDDING, codes=frames, transcript="the")
    (reference,) = tiny_tokenizer().encode(" the")[:1]
    spoken = tiny_tokenizer().encode("assistant\nthe")[2:]
    assert reference not in spoken  # no space before it, so another token
    streamed = layouts("0.6B-Base").build(asked(TextMode.INCREMENTAL, kept=voice))
    texts = [*spoken, *tiny_tokenizer().encode("Hi"), END]
    padded = texts + [PAD] * (21 - len(texts))
    expected = live(padded, [(CODEC_BEGIN,), *map(tuple, frames.tolist())])
    assert table(streamed, "Hi")[-21:] == expected


def test_a_line_break_at_the_start_joins_the_heading() -> None:
    """Tokens are cut from the whole turn by position, as the reference does it."""
    merged = tiny_tokenizer().encode("assistant\n\nHello")
    layout = layouts("1.7B-CustomVoice").build(asked(TextMode.INCREMENTAL, voice="ryan"))
    columns = table(layout, "\nHello")
    assert [column.text for column in columns[:3]] == [START, *merged[:2]]
    assert merged[1] != NEWLINE
    assert columns[-1] == PromptToken(merged[2], (CODEC_BEGIN,))


def test_languages_that_may_be_asked_for() -> None:
    assert languages(CONFIG) == tuple(sorted(languages(CONFIG)))
    assert "english" in languages(CONFIG)
    assert not any("dialect" in name for name in languages(CONFIG))
    assert language_row(CONFIG, "Beijing_dialect".replace("Beijing_dialect", ""), UNSPECIFIED) is None
    for wrong in ("klingon", "beijing_dialect", "tlh", "yue-HK", "sv", "en-", "e", "en--US", "english-US", "日本語"):
        with pytest.raises(InvalidRequest, match=r"english.*such as 'en'"):
            language_row(CONFIG, wrong, UNSPECIFIED)


@pytest.mark.parametrize(
    ("language", "name"),
    [
        *(("EN", "english"), ("en-US", "english"), ("en_GB", "english"), ("en_US.UTF-8", "english")),
        *(("de", "german"), ("de-DE-1996", "german"), ("de_DE@euro", "german"), ("es-419", "spanish")),
        *(("zh", "chinese"), ("zh-CN", "chinese"), ("zh-Hans-CN", "chinese"), ("cmn-Hans-CN", "chinese")),
        *(("ja", "japanese"), ("ko-KR", "korean"), ("pt_br", "portuguese"), ("fr-x-old", "french")),
        *(("it", "italian"), ("ru", "russian"), ("Russian", "russian"), (" english ", "english")),
    ],
)
def test_languages_by_code(language: str, name: str) -> None:
    assert language_row(CONFIG, language, UNSPECIFIED) == CONFIG.languages[name]


@pytest.mark.parametrize("language", ["", "auto", "AUTO", "und", "und-Latn"])
def test_languages_that_are_detected(language: str) -> None:
    assert language_row(CONFIG, language, UNSPECIFIED) is None


def test_a_dialect_speakers_chinese_by_code() -> None:
    voice = Voice(row=1, dialect="beijing_dialect")
    assert language_row(CONFIG, "zh-CN", voice) == language_row(CONFIG, "und", voice) == 2074


@pytest.mark.parametrize(
    "voice",
    [
        Voice(row=3),
        Voice(embedding=np.zeros(47, np.float32)),
        Voice(embedding=EMBEDDING, codes=np.zeros((3, 15), np.int32)),
        Voice(embedding=EMBEDDING, codes=np.full((3, 16), 2048, np.int32)),
        Voice(embedding=EMBEDDING, codes=np.full((3, 16), -1, np.int32)),
    ],
)
def test_a_kept_voice_of_another_checkpoint_is_refused(voice: Voice) -> None:
    with pytest.raises(Unsupported):
        layouts("0.6B-Base").build(asked(TextMode.WHOLE, kept=voice))


def test_voices_by_name() -> None:
    of = layouts("1.7B-CustomVoice").build
    assert of(SpeechRequest()).voice is of(SpeechRequest(voice=next(iter(CONFIG.speakers)))).voice
    with pytest.raises(VoiceNotFound, match="'nobody' is not known; there are aiden, dylan"):
        of(SpeechRequest(voice="nobody"))
    with pytest.raises(Unsupported):
        of(SpeechRequest(reference=Reference(np.zeros(24_000, np.float32), "x")))
