"""The engine without an event loop: the same codes as with one, batches, clones, errors, the end."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from engine.api.config import EngineConfig
from engine.api.errors import (
    CheckpointError,
    EngineFailed,
    GenerationFailed,
    InvalidRequest,
    Unsupported,
    VoiceNotFound,
)
from engine.api.events import AudioChunk
from engine.api.request import Reference, Sampling, SpeechRequest, TextMode
from engine.engine import Engine
from engine.offline import Audio, BatchFailed, Qwen3TTSInterface
from engine.offline.recordings import read_recording
from tests.engine.conftest import Checkpoint, Engines
from tests.engine.speaking import until

CUSTOM, BASE, DESIGN = "1.7B-CustomVoice", "0.6B-Base", "1.7B-VoiceDesign"
TEXT = "Okay, let me see what I can find."
SLOTS = 3


@pytest.fixture(scope="module")
def offline(checkpoint: Checkpoint) -> Iterator[dict[str, Qwen3TTSInterface]]:
    """Each kind's, made once."""
    config = EngineConfig(device="cpu", max_speeches=SLOTS, max_queue=0)
    made = {kind: Qwen3TTSInterface(str(checkpoint(kind)), config) for kind in (CUSTOM, BASE, DESIGN)}
    yield made
    for each in made.values():
        each.close()


def recording(rate: int = 24_000) -> tuple[np.ndarray[Any, Any], int]:
    """A second of a gliding tone."""
    moments = np.arange(rate) / rate
    return (0.4 * np.sin(2 * np.pi * (200 + 150 * moments) * moments)).astype(np.float32), rate


async def online(engine: Engine, request: SpeechRequest, text: str = TEXT) -> np.ndarray[Any, Any]:
    """Codes of a text by the engine itself."""
    async with engine.open(request) as speech:
        speech.feed(text)
        speech.end()
        return np.concatenate([event.codes async for event in speech if isinstance(event, AudioChunk)])


def joined(chunks: Iterator[AudioChunk]) -> np.ndarray[Any, Any]:
    return np.concatenate([chunk.codes for chunk in chunks])


def seeded(seed: int) -> Sampling:
    return Sampling(seed=seed, max_frames=8)


@pytest.mark.asyncio(loop_scope="session")
async def test_every_verb_makes_the_codes_of_the_engine(engines: Engines, offline: dict[str, Any]) -> None:
    sampling = seeded(7)
    voice = offline[CUSTOM].card.voices[1]
    request = SpeechRequest(voice=voice, instructions="Calm.", language="english", sampling=sampling)
    expected = await online(await engines(CUSTOM), request)
    made = offline[CUSTOM].generate_custom_voice(TEXT, "English", voice, "Calm.", sampling=sampling)
    np.testing.assert_array_equal(joined(iter(made)), expected)

    expected = await online(await engines(DESIGN), SpeechRequest(instructions="A sailor.", sampling=sampling))
    made = offline[DESIGN].generate_voice_design(TEXT, "A sailor.", sampling=sampling)
    np.testing.assert_array_equal(made.audio().codes, expected)

    reference = Reference(recording()[0], "What is said.")
    expected = await online(await engines(BASE), SpeechRequest(reference=reference, sampling=sampling))
    made = offline[BASE].generate_voice_clone(TEXT, ref_audio=recording(), ref_text="What is said.", sampling=sampling)
    np.testing.assert_array_equal(joined(iter(made)), expected)


@pytest.mark.asyncio(loop_scope="session")
async def test_async_for_gives_what_for_gives(offline: dict[str, Any]) -> None:
    tts = offline[CUSTOM]
    chunks = [chunk async for chunk in tts.generate_custom_voice_async(TEXT, sampling=seeded(3))]
    np.testing.assert_array_equal(
        joined(iter(chunks)), joined(iter(tts.generate_custom_voice(TEXT, sampling=seeded(3))))
    )


def test_a_batch_is_what_each_text_is_alone(offline: dict[str, Any]) -> None:
    tts, texts = offline[CUSTOM], [f"{TEXT} Number {number}." for number in range(SLOTS + 2)]
    requests = [tts.custom_voice(sampling=seeded(number)) for number in range(len(texts))]
    together = tts.generate(texts, requests)
    assert [audio.seed for audio in together] == list(range(len(texts)))
    for text, request, audio in zip(texts, requests, together, strict=True):
        np.testing.assert_array_equal(audio.codes, tts.stream(text, request).audio().codes)
        assert len(audio.pcm) == tts.card.frame_samples * len(audio.codes) and audio.sample_rate == 24_000


def test_a_voice_of_a_recording_serves_many_texts(offline: dict[str, Any], tmp_path: Path) -> None:
    tts = offline[BASE]
    soundfile.write(tmp_path / "voice.wav", *recording(16_000))
    prompt = tts.create_voice_clone_prompt(str(tmp_path / "voice.wav"), x_vector_only_mode=True)
    assert prompt.codes is None and prompt.embedding is not None
    requests = [tts.voice_clone(prompt, sampling=seeded(seed)) for seed in (1, 2)]
    one, other = tts.generate([TEXT, TEXT], requests)
    assert len(one.codes) and not np.array_equal(one.codes, other.codes)


def test_recordings_come_as_files_or_samples(tmp_path: Path) -> None:
    samples, rate = recording(48_000)
    soundfile.write(tmp_path / "a.flac", samples, rate)
    stereo = np.stack([samples, samples], axis=1)
    whole = (samples * 32_767).astype(np.int16)
    for given in (tmp_path / "a.flac", (stereo, rate), (whole, rate)):
        made = read_recording(given)
        assert made.dtype == np.float32 and abs(len(made) - 24_000) < 50
        np.testing.assert_allclose(made, read_recording((samples, rate)), atol=1e-3)
    with pytest.raises(InvalidRequest, match="ref_audio"):
        read_recording(tmp_path / "nothing.wav")
    (tmp_path / "no.wav").write_bytes(b"no recording")
    with pytest.raises(InvalidRequest, match="ref_audio"):
        read_recording(tmp_path / "no.wav")


def test_the_place_of_the_text_can_be_chosen(offline: dict[str, Any]) -> None:
    requests = [offline[CUSTOM].custom_voice(non_streaming_mode=mode) for mode in (True, False)]
    assert [request.delivery.text_mode for request in requests] == [TextMode.WHOLE, TextMode.INCREMENTAL]
    assert offline[CUSTOM].custom_voice().delivery.text_mode is None
    assert offline[CUSTOM].custom_voice(seed=5).sampling.seed == 5
    assert offline[CUSTOM].custom_voice().sampling == offline[CUSTOM].defaults


def test_bad_requests_say_why(offline: dict[str, Any]) -> None:
    tts = offline[CUSTOM]
    with pytest.raises(VoiceNotFound):
        tts.generate([TEXT, TEXT], [tts.custom_voice(), tts.custom_voice(speaker="nobody")])
    with pytest.raises(Unsupported):
        tts.create_voice_clone_prompt(recording(), x_vector_only_mode=True)
    with pytest.raises(InvalidRequest, match="transcript"):
        offline[BASE].create_voice_clone_prompt(recording())
    with pytest.raises(InvalidRequest, match="voice_clone_prompt"):
        offline[BASE].generate_voice_clone(TEXT)
    with pytest.raises(InvalidRequest, match="2 for 1"):
        tts.generate([TEXT], [tts.custom_voice(), tts.custom_voice()])
    with pytest.raises(InvalidRequest, match="nothing to speak"):
        next(iter(tts.generate_custom_voice("  ")))


def test_a_text_that_fails_loses_none_of_the_others(offline: dict[str, Any]) -> None:
    tts = offline[CUSTOM]
    with pytest.raises(BatchFailed, match="1 of 3 texts") as caught:
        tts.generate([TEXT, "...", TEXT], tts.custom_voice(sampling=seeded(1)))
    one, failed, other = caught.value.results
    assert isinstance(one, Audio) and isinstance(other, Audio)
    assert isinstance(failed, InvalidRequest) and caught.value.reason == failed.reason
    np.testing.assert_array_equal(one.codes, other.codes)


def test_a_stream_that_is_left_frees_its_slot(offline: dict[str, Any]) -> None:
    tts = offline[CUSTOM]
    for _ in range(2 * SLOTS):
        for _chunk in tts.generate_custom_voice(TEXT, sampling=seeded(1)):
            break
    asyncio.run(until(lambda: tts._engine.state().running == 0))
    assert len(tts.generate([TEXT] * SLOTS, tts.custom_voice(sampling=seeded(1)))) == SLOTS


def test_threads_share_it(offline: dict[str, Any]) -> None:
    tts, made = offline[CUSTOM], []
    threads = [
        threading.Thread(target=lambda: made.append(tts.generate([TEXT], tts.custom_voice(sampling=seeded(4)))[0]))
        for _ in range(SLOTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == SLOTS
    for audio in made:
        np.testing.assert_array_equal(audio.codes, made[0].codes)


def test_closing_ends_what_runs_and_refuses_the_rest(checkpoint: Checkpoint) -> None:
    tts = Qwen3TTSInterface(str(checkpoint(CUSTOM, 0.0)), EngineConfig(device="cpu"))
    chunks = iter(tts.generate_custom_voice(TEXT, sampling=Sampling(seed=1, max_frames=1_000_000)))
    next(chunks)
    tts.close()
    tts.close()
    with pytest.raises(EngineFailed, match="closed"):
        for _ in chunks:
            pass
    with pytest.raises(EngineFailed, match="closed"):
        tts.generate([TEXT], tts.custom_voice())


def test_closing_ends_a_batch_of_another_thread(checkpoint: Checkpoint) -> None:
    tts, raised = Qwen3TTSInterface(str(checkpoint(CUSTOM, 0.0)), EngineConfig(device="cpu")), []

    def speak() -> None:
        try:
            tts.generate([TEXT] * 20, tts.custom_voice(sampling=Sampling(seed=1, max_frames=1_000_000)))
        except (BatchFailed, EngineFailed) as error:
            raised.append(error)

    thread = threading.Thread(target=speak)
    thread.start()
    asyncio.run(until(lambda: tts._engine.state().running > 0))
    tts.close()
    thread.join(30)
    assert len(raised) == 1


def test_a_broken_step_is_an_error(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with Qwen3TTSInterface(str(checkpoint(CUSTOM)), EngineConfig(device="cpu")) as tts:
        monkeypatch.setattr(tts._engine._steps.runner, "step", lambda batch: 1 / 0)
        with pytest.raises((EngineFailed, GenerationFailed)):
            list(tts.generate_custom_voice(TEXT))
        with pytest.raises(EngineFailed):
            tts.generate([TEXT], tts.custom_voice())


def test_a_checkpoint_that_is_none_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(CheckpointError):
        Qwen3TTSInterface(str(tmp_path))
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "offline-engine" and not thread.daemon]


def test_a_program_that_forgets_to_close_ends(checkpoint: Checkpoint) -> None:
    program = (
        "from engine.offline import Qwen3TTSInterface\n"
        f"tts = Qwen3TTSInterface({str(checkpoint(CUSTOM))!r})\n"
        "chunks = iter(tts.generate_custom_voice('Hello there.', seed=1))\n"
        "print(len(next(chunks).codes))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
