"""The engine's loop without threads or waiting: a call is a step, and the clock is a number that the test moves."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.api.errors import EngineError
from engine.api.events import AudioChunk, FinishReason, FlushDone, SegmentDone
from engine.api.metrics import PREEMPTIONS
from engine.api.observer import Metric, NullObserver, Observer
from engine.api.request import Delivery, SpeechRequest, TextMode
from engine.api.voice import Voice
from engine.checkpoint.config import ModelConfig
from engine.prompt.builder import PromptLayout
from engine.scheduler.batch import StepOutput
from engine.scheduler.batch_builder import Limits
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.runaway import RunawayDetector
from engine.scheduler.scheduler import Outcome, Scheduler
from engine.scheduler.sequence import Sequence
from engine.scheduler.turn_text import TurnText
from tests.engine.fake_runner import Codes, FakeRunner, OneAhead
from tests.engine.oracle import Expected, expected
from tests.engine.tiny import tiny_config, tiny_tokenizer

Flavour = Literal["at once", "one ahead"]
FLAVOURS: tuple[Flavour, ...] = ("at once", "one ahead")
STEP = 0.01  # seconds a step takes


@dataclass(eq=False)
class Talk:
    """A speech, what was said to it, and what came back."""

    sequence: Sequence
    texts: list[tuple[str, str | None]] = field(default_factory=lambda: [("", None)])
    modes: list[TextMode] = field(default_factory=list)  # of the segments, where the layout leaves them open
    codes: list[Codes] = field(default_factory=list)
    pcm: list[npt.NDArray[np.int16]] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    done: list[SegmentDone] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    lasts: list[bool] = field(default_factory=list)
    end: FinishReason | EngineError | None = None
    reading: bool = True

    def feed(self, text: str) -> None:
        self.texts[-1] = (self.texts[-1][0] + text, None)
        self.sequence.text.append(text)

    def flush(self, mark: str) -> None:
        self.texts[-1] = (self.texts[-1][0], mark)
        self.texts.append(("", None))
        self.sequence.text.flush(mark)

    def say(self, text: str) -> None:
        """The whole text at once."""
        self.feed(text)
        self.sequence.text.end()

    def read(self) -> None:
        """Take everything that has come so far."""
        self.sequence.taken = len(self.codes)

    def expected(self) -> Expected:
        """What the whole turn must come to."""
        sequence = self.sequence
        return expected(
            sequence.layout, sequence.text.tokenizer, sequence.request, sequence.seed, self.texts, self.modes
        )


class Preemptions(NullObserver):
    """Keeps the reasons of preemptions."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def record(self, metric: Metric, value: float = 1.0, *labels: str) -> None:
        if metric is PREEMPTIONS:
            self.reasons += labels


class Drive:
    """A scheduler over a fake device."""

    def __init__(
        self,
        flavour: Flavour,
        slots: int = 4,
        blocks: int = 1000,
        block_size: int = 4,
        columns: int = 64,
        observer: Observer | None = None,
        config: ModelConfig | None = None,
    ) -> None:
        self.now, self.config = 0.0, config or tiny_config()
        self.talks: dict[Sequence, Talk] = {}
        self.pool = BlockPool(blocks, block_size)
        positions = min(32_768, blocks * block_size)
        self.scheduler = Scheduler(Limits(slots, columns, positions, 7_500), self.pool, observer or NullObserver())
        self.device = FakeRunner(self.config, slots, block_size)
        self._decoding: StepOutput | None = None
        self._runner = self.device if flavour == "at once" else OneAhead(self.device)

    def open(
        self, request: SpeechRequest | None = None, *, seed: int = 0, voice: Voice | None = None, instruct: int = 0
    ) -> Talk:
        """Queue a speech."""
        request = request or SpeechRequest(delivery=Delivery(text_mode=INCREMENTAL))
        transcript = () if voice is None or voice.codes is None else (7, 8, 9)
        layout = PromptLayout(
            config=self.config,
            voice=voice or Voice(row=3061),
            mode=request.delivery.text_mode,
            language=None,
            instruct=(5,) * instruct,
            reference_text=transcript,
        )
        guard = RunawayDetector(10.0, layout.config.frame_seconds)
        talk = Talk(Sequence(request, seed, layout, TurnText(layout, tiny_tokenizer()), guard, arrived=self.now))
        self.talks[talk.sequence] = talk
        self.scheduler.add(talk.sequence)
        return talk

    def step(self) -> bool:
        """One turn of the loop; False when there was nothing to do."""
        self.now += STEP
        self._deliver(self.scheduler.settle(self.now))
        self.scheduler.admit(self.now)
        self.scheduler.check()
        batch = self.scheduler.schedule(self.now)
        if batch is None:
            return self._listen()
        output = self._runner.step(batch)
        self._deliver(self.scheduler.commit(output))
        self._listen()
        if output.decoding is not None:
            audio, _ = output.decoding()
            self._decoding = replace(output, audio=audio)
        self.scheduler.check()
        return True

    def _listen(self) -> bool:
        """Deliver the audio that was left over by the step before; False where there is none."""
        output, self._decoding = self._decoding, None
        if output is not None:
            self._deliver(self.scheduler.commit_audio(output))
        return output is not None

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def run(self, limit: int = 20_000) -> None:
        """Step until every speech has ended; while nothing can be done, time passes."""
        while any(talk.end is None for talk in self.talks.values()):
            limit -= 1
            assert limit > 0, "a speech has got stuck"
            if not self.step():
                self.now += 0.1

    def cancel(self, talk: Talk) -> None:
        if talk.end is None:
            talk.end = FinishReason.CANCELLED
            self.scheduler.remove(talk.sequence)

    def idle(self) -> None:
        """Fetch what is outstanding, and check that nothing is held."""
        while self.step():
            pass
        self.scheduler.check()
        state = self.scheduler.state(self.now)
        assert (state.queued, state.running, state.parked, state.blocks_used) == (0, 0, 0, 0)

    def _deliver(self, outcomes: Iterable[tuple[Sequence, Outcome]]) -> None:
        for sequence, outcome in outcomes:
            talk = self.talks[sequence]
            assert talk.end is None, "something came after the end"
            match outcome:
                case AudioChunk():
                    self._hear(talk, outcome)
                case SegmentDone():
                    assert outcome.first_frame + outcome.frames == len(talk.codes)
                    talk.done.append(outcome)
                case FlushDone():
                    assert sequence.admitted is not None
                    talk.marks.append((outcome.mark, len(talk.codes)))
                case FinishReason() | EngineError():
                    talk.end = outcome
                    self.scheduler.remove(sequence)

    def _hear(self, talk: Talk, chunk: AudioChunk) -> None:
        assert chunk.first_frame == len(talk.codes), "a hole, or a frame twice"
        assert len(chunk.pcm) == len(chunk.codes) * self.config.frame_samples
        talk.codes += map(tuple, chunk.codes.tolist())
        talk.pcm += list(chunk.pcm.reshape(-1, self.config.frame_samples))
        talk.sizes.append(len(chunk.codes))
        talk.lasts.append(chunk.last)
        talk.sequence.playback.deliver(len(chunk.codes), self.now)
        if talk.reading:
            talk.read()


def check_whole(talk: Talk) -> None:
    """The speech has come to exactly what it must."""
    want = talk.expected()
    assert talk.end is want.reason
    assert talk.codes == want.codes
    assert all(np.array_equal(*pair) for pair in zip(talk.pcm, want.pcm, strict=True))
    assert talk.marks == want.marks
    assert not any(talk.lasts[:-1])


def check_part(talk: Talk) -> None:
    """What was heard of a speech that was cut short is the start of what it would have come to."""
    want = talk.expected()
    assert talk.codes == want.codes[: len(talk.codes)]
    assert all(np.array_equal(*pair) for pair in zip(talk.pcm, want.pcm, strict=False))
    assert talk.marks == want.marks[: len(talk.marks)]


WHOLE, INCREMENTAL = TextMode.WHOLE, TextMode.INCREMENTAL
