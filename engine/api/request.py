"""Request values: frozen, validated once at the edge."""

import math
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from engine.api.errors import InvalidRequest
from engine.api.voice import Voice

RECORDING_RATE = 24_000  # Hz, of recordings to clone
SHORTEST_RECORDING = 1_920  # samples
SHORTEST_LEAD = 0.08  # seconds
MOST_FRAMES = 1_080_000  # of one speech: a day at 12.5 Hz


class TextMode(Enum):
    """Place of the text: beside frames, or in the prompt."""

    INCREMENTAL = "incremental"  # one text token per audio frame, from the first token on
    WHOLE = "whole"  # the whole text in the prompt, once it is complete


class TextFilter(Enum):
    """Parts of the text that are not spoken."""

    NONE = "none"
    MARKUP = "markup"  # Markdown, tags of SSML and HTML, emoji


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Parameters of one draw from logits.

    Temperature 0 is greedy, `top_k` 0 is off, `top_p` 1 is off.
    """

    temperature: float = 0.9
    top_k: int = 50
    top_p: float = 1.0

    def validate(self, prefix: str) -> None:
        """Raise `InvalidRequest` naming `prefix` + the field out of range."""
        in_range(f"{prefix}temperature", self.temperature, 0.0, 10.0)
        in_range(f"{prefix}top_p", self.top_p, 0.0, 1.0, open_low=True)
        in_range(f"{prefix}top_k", self.top_k, 0, 1_000_000)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling of talker (codebook 0), predictor (codebooks 1 to 15).

    `seed` None draws one. `max_frames` None leaves the length to the engine's cap for the text; a number replaces
    that cap. `end_before_text`: whether end of speech may be drawn while text is still unread. The reference
    implementation allows it, live text is safer without; None allows it in greedy mode alone.
    """

    talker: SamplingParams = SamplingParams()
    predictor: SamplingParams = SamplingParams()
    repetition_penalty: float = 1.05
    seed: int | None = None
    max_frames: int | None = None
    end_before_text: bool | None = None

    @property
    def greedy(self) -> bool:
        """Whether codebook 0 is not drawn.

        In this mode the reference implementation is reproduced exactly.
        """
        return self.talker.temperature == 0

    def validate(self) -> None:
        """Raise `InvalidRequest` naming the field out of range."""
        self.talker.validate("sampling.")
        self.predictor.validate("sampling.predictor_")
        in_range("sampling.repetition_penalty", self.repetition_penalty, 0.0, 10.0, open_low=True)
        if self.seed is not None:
            in_range("sampling.seed", self.seed, 0, 2**64 - 1)
        if self.max_frames is not None:
            in_range("sampling.max_audio", self.max_frames, 1, MOST_FRAMES, unit=" frames")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivery of audio: chunk sizes in frames, times in seconds.

    `input_idle_timeout` 0 waits for text for ever.
    `text_mode` None is the reference implementation's default for the kind of checkpoint wherever a segment's text is
    complete when its prompt is made, and incremental where text is still awaited. `sentence_segments` makes each
    sentence a prompt of its own.
    """

    text_mode: TextMode | None = None
    first_chunk_frames: int = 1
    max_chunk_frames: int = 12
    max_lead: float = 5.0
    input_idle_timeout: float = 30.0
    sentence_segments: bool = False
    text_filter: TextFilter = TextFilter.NONE

    def validate(self) -> None:
        """Raise `InvalidRequest` naming the field out of range."""
        in_range("delivery.first_chunk_frames", self.first_chunk_frames, 1, 12)
        in_range("delivery.max_chunk_frames", self.max_chunk_frames, 1, 12)
        in_range("delivery.max_lead", self.max_lead, SHORTEST_LEAD, 86_400.0, unit=" s")
        in_range("delivery.input_idle_timeout", self.input_idle_timeout, 0.0, 86_400.0, unit=" s")


@dataclass(frozen=True, slots=True)
class Reference:
    """A recording to clone: mono float32 samples in [-1, 1].

    Sampled at 24 kHz. X-vector mode needs no transcript.
    `scope` becomes that of its `Voice`. `trailing_silence`: seconds of it behind the samples for the codec, not for the
    speaker encoder; the reference implementation has none, so its speech may begin with an echo of the last sound.
    """

    samples: npt.NDArray[np.float32]
    transcript: str = ""
    speaker_embedding_only: bool = False
    scope: str = ""
    trailing_silence: float = 0.0

    def validate(self) -> None:
        """Raise `InvalidRequest` for unusable samples or a missing transcript."""
        if self.samples.ndim != 1 or self.samples.size < SHORTEST_RECORDING:
            raise InvalidRequest("reference.audio", "needs at least 80 ms of mono audio", "REFERENCE_DURATION")
        if not np.isfinite(self.samples).all():
            raise InvalidRequest("reference.audio", "has samples that are not finite")
        if not self.speaker_embedding_only and not self.transcript.strip():
            raise InvalidRequest("reference.transcript", "is needed unless speaker_embedding_only is set")


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One turn of one speaker, without its text.

    The text comes afterwards, through the `Speech` that `Engine.open` returns.
    The speaker is a built-in `voice` by name, a `reference` to clone, or a `kept` voice that `Engine.clone` returned.
    `tenant`: waiting speeches of tenants that hold fewer slots go first.
    """

    request_id: str = ""
    tenant: str = ""
    voice: str = ""
    reference: Reference | None = None
    kept: Voice | None = None
    instructions: str = ""
    language: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    delivery: Delivery = field(default_factory=Delivery)

    def validate(self) -> None:
        """Raise `InvalidRequest` naming the first field out of range."""
        self.sampling.validate()
        self.delivery.validate()
        if bool(self.voice) + (self.reference is not None) + (self.kept is not None) > 1:
            raise InvalidRequest("voice", "give either a voice or a reference")
        if self.reference is not None:
            self.reference.validate()


def in_range(field_name: str, value: float, low: float, high: float, *, open_low: bool = False, unit: str = "") -> None:
    """Raise `InvalidRequest` for a value outside its range.

    The range is [low, high], or (low, high] where `open_low`.
    """
    inside = math.isfinite(value) and (low < value if open_low else low <= value) and value <= high
    if not inside:
        bounds = f"{'(' if open_low else '['}{low:.10g}{unit}, {high:.10g}{unit}]"
        raise InvalidRequest(field_name, f"{value:.10g}{unit} is not in {bounds}")
