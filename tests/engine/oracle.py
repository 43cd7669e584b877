"""What a speech must come to: computed alone, from the whole text, in one plain loop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.api.events import FinishReason
from engine.api.request import SpeechRequest, TextMode
from engine.prompt import prompt_tokens
from engine.prompt.builder import PromptLayout
from engine.prompt.token_stream import speakable
from engine.prompt.tokenizer import TextTokenizer
from tests.engine.fake_runner import Cell, Codes, FakeModel


@dataclass(frozen=True, slots=True)
class Expected:
    """Frames and audio of the turn, why it ends, and the turn's length at each mark that is reached."""

    codes: list[Codes]
    pcm: list[npt.NDArray[np.int16]]
    marks: list[tuple[str, int]]
    reason: FinishReason


def expected(
    layout: PromptLayout,
    tokenizer: TextTokenizer,
    request: SpeechRequest,
    seed: int,
    texts: Sequence[tuple[str, str | None]],
    modes: Sequence[TextMode] = (),
) -> Expected:
    """`texts`: each segment's text, and the mark of the flush that ends it, None for the last.

    `modes`: where the text of each goes, if the layout leaves it open.
    """
    model = FakeModel(layout.config)
    made = Expected([], [], [], FinishReason.STOP)
    for number, (text, mark) in enumerate(texts):
        layout = replace(layout, mode=modes[number]) if modes else layout
        text = text if speakable(text) else ""
        limit = _limit(request, tokenizer, text, len(made.codes))
        frames = list(_segment(model, layout, tokenizer, request, seed, text, len(made.codes), limit)) if text else []
        _listen(model, layout, frames, made)
        if mark is not None:
            made.marks.append((mark, len(made.codes)))
        if text and len(frames) == limit:
            return Expected(made.codes, made.pcm, made.marks, FinishReason.LENGTH)
    return made


def _limit(request: SpeechRequest, tokenizer: TextTokenizer, text: str, before: int) -> int:
    wanted = request.sampling.max_frames
    return 100 + 25 * (len(tokenizer.encode("assistant\n" + text)) - 2) if wanted is None else wanted - before


def _segment(
    model: FakeModel,
    layout: PromptLayout,
    tokenizer: TextTokenizer,
    request: SpeechRequest,
    seed: int,
    text: str,
    before: int,
    limit: int,
) -> Iterator[Codes]:
    ids = layout.config.text
    heading, body = _split(tokenizer.encode("assistant\n" + text))
    columns = prompt_tokens.prefix(
        layout.config, (ids.im_start, *heading), layout.instruct, layout.language, layout.voice
    )
    unread: list[int] = []
    if layout.mode is TextMode.WHOLE:
        columns += prompt_tokens.whole_text(layout.config, (*layout.reference_text, *body))
    else:
        unread = [*layout.reference_text, *body, ids.tts_eos]
    cells: list[Cell] = [(position, *column) for position, column in enumerate(columns)]
    spoken: list[Codes] = [(layout.config.codec.bos,), *layout.voice.frames]
    early = request.sampling.talker.temperature == 0
    early = early if request.sampling.end_before_text is None else request.sampling.end_before_text
    seen: set[int] = set()
    for i in range(len(spoken) - 1 + limit):
        cells.append((len(columns) + i, unread[i] if i < len(unread) else ids.tts_pad, spoken[i]))
        number = i + 1 - len(layout.voice.frames) - 1
        if number < 0:
            continue
        may_end = number >= 2 and (early or i >= len(unread) - 1)
        codes = model.frame(cells, seed, before + number, frozenset(seen), may_end)
        if codes[0] == model.end:
            return
        seen.add(codes[0])
        spoken.append(codes)
        yield codes


def _split(ids: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    return ids[:2], ids[2:]


def _listen(model: FakeModel, layout: PromptLayout, frames: Sequence[Codes], made: Expected) -> None:
    heard = 0
    for codes in layout.voice.frames:
        heard = model.listen(heard, codes)
    for codes in frames:
        heard = model.listen(heard, codes)
        made.codes.append(codes)
        made.pcm.append(model.audio(heard))
