"""From a request to the layout of its prompts: which voice, language, instruction, and whether this checkpoint can."""

from collections.abc import Callable
from dataclasses import replace

from engine import prompt
from engine.errors import InvalidRequest, Unsupported, VoiceNotFound
from engine.model.config import ModelConfig
from engine.request import Reference, SpeechRequest
from engine.segment import ROLE, Layout
from engine.text import HEADING
from engine.tokenizer import TextTokenizer
from engine.voice import UNSPECIFIED, Voice

Clone = Callable[[Reference], Voice]


class Layouts:
    """`voices`: built-in speakers in the checkpoint's order, and cloned voices by name.

    `clone` is None for checkpoints that have no speaker encoder; it blocks while it encodes.
    """

    def __init__(self, config: ModelConfig, tokenizer: TextTokenizer, clone: Clone | None) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.voices = {
            name: Voice(row=row, dialect=config.dialects.get(name)) for name, row in config.speakers.items()
        }
        self._clone = clone

    def of(self, request: SpeechRequest) -> Layout:
        """The layout of a request, without what its reference recording will add.

        Raises `InvalidRequest`, `VoiceNotFound` or `Unsupported`.
        """
        voice = self._voice(request)
        return Layout(
            config=self.config,
            voice=voice,
            mode=request.delivery.text_mode,
            language=prompt.language_row(self.config, request.language, voice),
            instruct=self._instruct(request.instructions),
            reference_text=self._reference_text(voice),
        )

    def with_reference(self, request: SpeechRequest) -> Layout:
        """The layout with the reference encoded; slow, so not for the event loop's thread."""
        assert request.reference is not None
        voice = self.clone(request.reference)
        return replace(self.of(request), voice=voice, reference_text=self._reference_text(voice))

    def clone(self, reference: Reference) -> Voice:
        """Encode a recording; raises `Unsupported` where the checkpoint cannot."""
        if self._clone is None:
            raise Unsupported(f"a {self.config.kind} checkpoint cannot clone a voice")
        return self._clone(reference)

    def _voice(self, request: SpeechRequest) -> Voice:
        match self.config.kind:
            case "voice_design":
                if request.voice or request.reference:
                    raise Unsupported("a voice-design checkpoint takes its voice from the instructions alone")
                return UNSPECIFIED
            case "base":
                return UNSPECIFIED if request.reference else self._named(request.voice)
            case "custom_voice":
                if request.reference:
                    raise Unsupported("a custom-voice checkpoint cannot clone a voice")
                return self._named(request.voice or next(iter(self.voices), ""))

    def _named(self, name: str) -> Voice:
        if not name:
            raise InvalidRequest("voice", "name a voice, or give a reference recording")
        voice = self.voices.get(name) or self.voices.get(name.lower())
        if voice is None:
            raise VoiceNotFound(name)
        return voice

    def _instruct(self, instructions: str) -> tuple[int, ...]:
        if instructions and self.config.kind == "base":
            raise Unsupported("a base checkpoint takes no instructions")
        if not instructions or not self.config.supports_instructions:
            return ()
        ids, encode = self.config.text, self.tokenizer.encode
        return (ids.im_start, *encode("user\n" + instructions), ids.im_end, *encode("\n"))

    def _reference_text(self, voice: Voice) -> tuple[int, ...]:
        """The transcript's ids, cut from its chat turn by position as the body's are."""
        return () if voice.codes is None else tuple(self.tokenizer.encode(HEADING + voice.transcript)[ROLE:])
