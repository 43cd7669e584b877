"""The engine says what qwen-tts says: the same codes, token for token, and the same audio within 2 units of 16 bits."""

import asyncio
from collections.abc import Iterable

import numpy as np
import pytest

from engine.api.events import AudioChunk
from engine.api.request import Delivery, Sampling, SamplingParams, SpeechRequest, TextMode
from engine.api.request import Reference as Voice
from engine.engine import Engine
from tests.parity.cases import SUBJECTS, Case, Recording, Subject
from tests.parity.reference import Reference, Spoken

pytestmark = pytest.mark.parity
on_one_loop = pytest.mark.asyncio(loop_scope="module")  # the engine lives on it from test to test

GREEDY = SamplingParams(temperature=0.0)
EVERY_CASE = [pytest.param(s, c, id=f"{s.name}-{c.name}") for s in SUBJECTS for c in s.cases]
EVERY_SUBJECT = [pytest.param(s, id=s.name) for s in SUBJECTS]


def request(case: Case) -> SpeechRequest:
    return SpeechRequest(
        voice=case.voice,
        reference=None if case.recording is None else voice(case.recording),
        instructions=case.instructions,
        language=case.language,
        sampling=Sampling(talker=GREEDY, predictor=GREEDY, max_frames=case.frames),
        delivery=Delivery(text_mode=case.mode, max_lead=3600.0),
    )


def voice(recording: Recording) -> Voice:
    return Voice(recording.samples(), recording.transcript, speaker_embedding_only=not recording.transcript)


async def speak(engine: Engine, case: Case, pieces: Iterable[str]) -> Spoken:
    async with asyncio.timeout(60), engine.open(request(case)) as speech:
        for piece in pieces:
            speech.feed(piece)
        speech.end()
        chunks = [event async for event in speech if isinstance(event, AudioChunk)]
    return Spoken(np.concatenate([c.codes for c in chunks]), np.concatenate([c.pcm for c in chunks]))


def assert_same(ours: Spoken, theirs: Spoken) -> None:
    np.testing.assert_array_equal(ours.codes, theirs.codes)
    assert ours.pcm.shape == theirs.pcm.shape
    assert np.abs(ours.pcm.astype(np.int32) - theirs.pcm).max() <= 2


@on_one_loop
@pytest.mark.parametrize(("subject", "case"), EVERY_CASE, indirect=["subject"], scope="module")
async def test_a_speech_alone(subject: Subject, case: Case, reference: Reference, engine: Engine) -> None:
    assert_same(await speak(engine, case, [case.text]), reference.speak(case))


@on_one_loop
@pytest.mark.parametrize("subject", EVERY_SUBJECT, indirect=True, scope="module")
async def test_all_speeches_at_once_character_by_character(
    subject: Subject, reference: Reference, engine: Engine
) -> None:
    together = await asyncio.gather(*(speak(engine, case, case.text) for case in subject.cases))
    for ours, case in zip(together, subject.cases, strict=True):
        assert_same(ours, reference.speak(case))


def test_modes_are_all_covered() -> None:
    kinds = {s.kind for s in SUBJECTS}
    assert len(kinds) == 5
    for kind in kinds:
        assert {c.mode for s in SUBJECTS if s.kind == kind for c in s.cases} == {*TextMode, None}
