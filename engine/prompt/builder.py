"""Prompt layouts of requests.

Resolves voice, language and instruction; checks the checkpoint's capabilities.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from engine.api.errors import InvalidRequest, Unsupported, VoiceNotFound
from engine.api.request import Reference, SpeechRequest, TextMode
from engine.api.voice import UNSPECIFIED, Voice
from engine.checkpoint.config import ModelConfig
from engine.prompt import prompt_tokens
from engine.prompt.token_stream import HEADING
from engine.prompt.tokenizer import TextTokenizer

ROLE = 2  # ids of the heading that follow im_start
PROMPT_SHARE = 4  # by default a text of up to 1/4 of the positions goes into the prompt


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """Parts that every segment's prompt of a speech shares.

    `instruct`, `reference_text`: token ids; `language`: a codec row.
    `mode` None puts a text of up to `whole_tokens` into the prompt where it is complete when the prompt is made.
    """

    config: ModelConfig
    voice: Voice
    mode: TextMode | None
    language: int | None
    instruct: tuple[int, ...] = ()
    reference_text: tuple[int, ...] = ()
    whole_tokens: int = 2_048


class Cloner(Protocol):
    """Converter of recordings to voices.

    `prime` and the call itself are slow: not for the event loop's thread.
    """

    def __call__(self, reference: Reference) -> Voice:
        """Voice of a recording."""

    def is_primed(self, voice: Voice) -> bool:
        """Whether a speech in this voice can begin at once."""

    def prime(self, voice: Voice) -> None:
        """Prime the codec with this voice; slow."""


class PromptBuilder:
    """Builder of prompt layouts for one checkpoint.

    `voices`: built-in speakers in the checkpoint's order. `cloner` is None for checkpoints that cannot clone.
    `positions`: the most that one speech can hold.
    """

    def __init__(
        self, config: ModelConfig, tokenizer: TextTokenizer, cloner: Cloner | None, positions: int = 8_192
    ) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.voices = {name: Voice(row=row, dialect=config.dialects.get(name)) for name, row in config.speakers.items()}
        self._cloner, self._positions = cloner, positions

    def build(self, request: SpeechRequest) -> PromptLayout:
        """Layout of a request, without its reference recording.

        Raises `InvalidRequest`, `VoiceNotFound` or `Unsupported`.
        """
        voice = self._voice(request)
        return PromptLayout(
            config=self.config,
            voice=voice,
            mode=request.delivery.text_mode or self.default_mode,
            language=prompt_tokens.language_row(self.config, request.language, voice),
            instruct=self._instruct(request.instructions),
            reference_text=self._reference_text(voice),
            whole_tokens=self._positions // PROMPT_SHARE,
        )

    @property
    def default_mode(self) -> TextMode | None:
        """Default text mode; None leaves it to the text.

        As in the reference implementation: clones take the text beside the frames, all others take it whole in the
        prompt, where it is complete.
        """
        return TextMode.INCREMENTAL if self.config.kind == "base" else None

    def is_ready(self, request: SpeechRequest) -> bool:
        """Whether `build` is complete: nothing to encode or prime first."""
        if request.kept is not None and self._cloner is not None:
            return self._cloner.is_primed(request.kept)
        return request.reference is None

    def prepare(self, request: SpeechRequest) -> PromptLayout:
        """Layout with its recording encoded, the codec primed; slow.

        Not for the event loop's thread.
        """
        if request.reference is None:
            assert request.kept is not None
            self.cloner.prime(request.kept)
            return self.build(request)
        voice = self.cloner(request.reference)
        return replace(self.build(request), voice=voice, reference_text=self._reference_text(voice))

    @property
    def cloner(self) -> Cloner:
        """The cloner; raises `Unsupported` where the checkpoint has none."""
        if self._cloner is None:
            raise Unsupported(f"a {self.config.kind} checkpoint cannot clone a voice")
        return self._cloner

    def _voice(self, request: SpeechRequest) -> Voice:
        match self.config.kind:
            case "voice_design":
                if request.voice or request.reference or request.kept:
                    raise Unsupported("a voice-design checkpoint takes its voice from the instructions alone")
                return UNSPECIFIED
            case "base":
                if request.kept is not None:
                    return self._fitting(request.kept)
                return UNSPECIFIED if request.reference else self._named(request.voice)
            case "custom_voice":
                if request.reference or request.kept:
                    raise Unsupported("a custom-voice checkpoint cannot clone a voice")
                return self._named(request.voice or next(iter(self.voices), ""))

    def _fitting(self, voice: Voice) -> Voice:
        """The voice, if all its ids fit this checkpoint's tables.

        A kept voice may come from a file, made by another checkpoint. Raises `Unsupported`.
        """
        config, embedding, codes = self.config, voice.embedding, voice.codes
        fits = embedding is not None and embedding.shape == (config.talker.hidden,)
        if fits and codes is not None and codes.size:
            fits = codes.shape[1] == config.code_groups and codes.min() >= 0 and codes.max() < config.predictor.vocab
        if not fits:
            raise Unsupported("the voice was made by a checkpoint of another size")
        return voice

    def _named(self, name: str) -> Voice:
        if not name:
            raise InvalidRequest("voice", "name a voice, or give a reference recording")
        voice = self.voices.get(name) or self.voices.get(name.lower())
        if voice is None:
            raise VoiceNotFound(name, self.voices)
        return voice

    def _instruct(self, instructions: str) -> tuple[int, ...]:
        if instructions and self.config.kind == "base":
            raise Unsupported("a base checkpoint takes no instructions")
        if not instructions or not self.config.supports_instructions:
            return ()
        ids, encode = self.config.text, self.tokenizer.encode
        return (ids.im_start, *encode("user\n" + instructions), ids.im_end, *encode("\n"))

    def _reference_text(self, voice: Voice) -> tuple[int, ...]:
        """Ids of the transcript.

        Cut from its chat turn by position, as the body's are.
        """
        return () if voice.codes is None else tuple(self.tokenizer.encode(HEADING + voice.transcript)[ROLE:])
