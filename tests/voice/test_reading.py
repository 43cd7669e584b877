"""What makes a talker read, and not go on from what it said: it is told which text is due, and frames are dropped."""

import numpy as np
import pytest
import torch

from engine.prompt.token_stream import HEADING
from engine.prompt.tokenizer import TextTokenizer
from tests.voice.conftest import TEXTS
from training.sizes import GROUPS, model_config, talker_config
from training.talker.columns import LEAD, Batch, Batches, Utterance, build_sequences, paragraphs
from training.talker.guided import Guide, off_pace
from training.talker.model import SpeechModel
from training.talker.subwords import train_subwords
from training.talker.train import CUT_OFF, dropped, mistold, split

WORDS = train_subwords(TEXTS)
CONFIG = talker_config(WORDS.config_ids, WORDS.rows)
TOKENIZER = TextTokenizer(WORDS.entries, WORDS.merges, "qwen2")
SAID = [Utterance(text, i, np.full((40 + i, GROUPS), i, np.int16)) for i, text in enumerate(TEXTS)]
SAID += paragraphs(SAID, 1, 200, seed=1)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Every utterance in incremental and in whole mode."""
    sizes = model_config(CONFIG)
    sequences = build_sequences(sizes, TOKENIZER, SAID, 0.5, 0)
    longest = int((sequences.starts[1:] - sequences.starts[:-1]).max())
    return Batches(sequences, 1, sizes.codec.eos).batch(longest, torch.arange(2 * len(SAID)))


def test_the_text_to_be_said_is_where_it_says(batch: Batch) -> None:
    for row, said in enumerate(each for each in SAID for _ in range(2)):
        expected = TOKENIZER.encode(HEADING + said.text)[2:]
        columns = (batch.told[row] >= 0).nonzero()[:, 0]
        assert batch.text[row, columns].tolist() == expected
        assert batch.told[row, columns].tolist() == [*range(len(expected))]
        frames = batch.speaks[row].nonzero()[:, 0]
        incremental = row % 2 == 0
        assert len(frames) == len(said.codes) - (0 if incremental else LEAD)
        assert (columns[0] == frames[0]) if incremental else (columns[-1] == frames[0] - 2)  # end-of-text between


def test_text_is_due_at_an_even_pace(batch: Batch) -> None:
    for row in range(len(batch.due)):
        due, tokens = batch.due[row, batch.speaks[row]], int(batch.told[row].max()) + 1
        step = tokens / len(due)
        torch.testing.assert_close(due, step * (torch.arange(len(due)) + 0.5) - 0.5)


def test_the_guide_wants_the_text_that_is_due(batch: Batch) -> None:
    away = batch.told[:, None] - batch.due[..., None]
    even, late = torch.zeros_like(away), -((away - 8) ** 2)
    blind = off_pace(even, batch)
    assert off_pace(-(away**2), batch) < 0.3 * blind < blind < off_pace(late, batch)
    elsewhere = torch.where(batch.told[:, None] < 0, 50.0, even)  # text of the prompt, pads and padding do not count
    torch.testing.assert_close(off_pace(elsewhere, batch), blind)
    ahead = torch.ones(even.shape[1:]).triu(1) * 50  # nor does what a column cannot see
    torch.testing.assert_close(off_pace(ahead.expand_as(even), batch), blind)


def test_the_guide_moves_the_heads_it_watches_and_no_result(batch: Batch) -> None:
    model = SpeechModel(CONFIG).eval()
    before = model.talker.hidden(batch.text, batch.codes, batch.vector)
    guide = Guide(model.talker)
    assert torch.equal(model.talker.hidden(batch.text, batch.codes, batch.vector), before)
    guide.loss(batch).backward()
    asked = [layer.get_parameter("self_attn.q_proj.weight").grad for layer in _layers(model)]
    assert [grad is not None for grad in asked] == [True] * 5 + [False] * 3
    assert asked[4] is not None and asked[4][:64].any() and not asked[4][64:].any()  # head 0 of the second of them


def test_frames_are_dropped_and_prompts_are_not(batch: Batch) -> None:
    torch.manual_seed(0)
    codes = batch.codes.repeat(500, 1, 1)
    frames = codes[..., -1] >= 0
    read = dropped(codes)
    assert torch.equal(read[~frames], codes[~frames])
    gone = (read != codes).any(-1)
    assert torch.equal(read[gone], torch.full_like(read[gone], -1))
    share = (gone & frames).sum(1) / frames.sum(1)
    assert (share == 0).float().mean() == pytest.approx(1 - CUT_OFF, abs=0.05)
    some = share[share > 0]
    assert some.mean() == pytest.approx(0.5, abs=0.05) and some.min() < 0.1 and some.max() > 0.9


def test_texts_are_exchanged_among_utterances_of_like_length() -> None:
    said = [Utterance("x" * length, length % 2, np.full((1, GROUPS), length)) for length in (9, 2, 30, 3, 31)]
    wrong = {int(u.codes[0, 0]): len(u.text) for u in mistold(said)}
    assert wrong == {2: 3, 3: 2, 9: 30, 30: 9}


def test_what_is_held_out_is_heard_in_no_voice() -> None:
    said = [Utterance(f"text {n % 40}", n % 2, np.full((1, GROUPS), n)) for n in range(120)]
    learnt, held = split(said, 0)
    assert len(learnt) + len(held) == len(said)
    assert len({u.text for u in held}) == 4
    assert {u.text for u in held}.isdisjoint(u.text for u in learnt)


def _layers(model: SpeechModel) -> list[torch.nn.Module]:
    return list(model.talker.model.layers.children())
