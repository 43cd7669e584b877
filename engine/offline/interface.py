"""The verbs of the reference implementation over the engine."""

from dataclasses import replace
from typing import TypedDict, Unpack

from engine.api.errors import InvalidRequest
from engine.api.request import Delivery, Reference, Sampling, SpeechRequest, TextMode
from engine.api.voice import Voice
from engine.offline.engine import Chunks, OfflineEngine
from engine.offline.recordings import Recording, read_recording


class Options(TypedDict, total=False):
    """Settings of a request, beside its voice.

    `sampling`: the checkpoint's own by default. `seed` replaces that of `sampling`. `non_streaming_mode`: whether the
    text stands whole in the prompt; by default as in the reference implementation.
    """

    sampling: Sampling
    seed: int
    non_streaming_mode: bool


class Qwen3TTSInterface(OfflineEngine):
    """Built-in, described or cloned voices, by checkpoint.

    Example:
    >>> from engine.checkpoint.embedded import embedded_checkpoint
    >>> with Qwen3TTSInterface(str(embedded_checkpoint())) as tts:
    ...     audio = tts.generate_custom_voice("Hello.", speaker="joe", seed=1).audio()
    >>> audio.sample_rate
    24000
    """

    def generate_custom_voice(
        self, text: str, language: str = "", speaker: str = "", instruct: str = "", **options: Unpack[Options]
    ) -> Chunks:
        """`stream` in a built-in voice."""
        return self.stream(text, self.custom_voice(language, speaker, instruct, **options))

    def generate_voice_design(self, text: str, instruct: str, language: str = "", **options: Unpack[Options]) -> Chunks:
        """`stream` in a described voice."""
        return self.stream(text, self.voice_design(instruct, language, **options))

    def generate_voice_clone(
        self,
        text: str,
        language: str = "",
        ref_audio: Recording | None = None,
        ref_text: str = "",
        x_vector_only_mode: bool = False,
        voice_clone_prompt: Voice | None = None,
        **options: Unpack[Options],
    ) -> Chunks:
        """`stream` in the voice of a recording.

        Encoded here unless given as `voice_clone_prompt`.
        Raises what `create_voice_clone_prompt` raises.
        """
        if voice_clone_prompt is None:
            if ref_audio is None:
                raise InvalidRequest("ref_audio", "give a recording, or voice_clone_prompt")
            voice_clone_prompt = self.create_voice_clone_prompt(ref_audio, ref_text, x_vector_only_mode)
        return self.stream(text, self.voice_clone(voice_clone_prompt, language, **options))

    # The same, by the names that `async for` goes with elsewhere.
    generate_custom_voice_async = generate_custom_voice
    generate_voice_design_async = generate_voice_design
    generate_voice_clone_async = generate_voice_clone

    def custom_voice(
        self, language: str = "", speaker: str = "", instruct: str = "", **options: Unpack[Options]
    ) -> SpeechRequest:
        """Request for a built-in voice, the first by default."""
        return self._request(SpeechRequest(voice=speaker, language=language, instructions=instruct), options)

    def voice_design(self, instruct: str, language: str = "", **options: Unpack[Options]) -> SpeechRequest:
        """Request for a voice by its description."""
        return self._request(SpeechRequest(language=language, instructions=instruct), options)

    def voice_clone(self, voice_clone_prompt: Voice, language: str = "", **options: Unpack[Options]) -> SpeechRequest:
        """Request for the voice of a recording."""
        return self._request(SpeechRequest(kept=voice_clone_prompt, language=language), options)

    def create_voice_clone_prompt(
        self,
        ref_audio: Recording,
        ref_text: str = "",
        x_vector_only_mode: bool = False,
        trailing_silence: float = 0.0,
    ) -> Voice:
        """Voice of a recording; `x_vector_only_mode` needs no transcript `ref_text`.

        `trailing_silence` as in `Reference`. Raises `InvalidRequest`, `Unsupported`.
        """
        reference = Reference(
            read_recording(ref_audio), ref_text, x_vector_only_mode, trailing_silence=trailing_silence
        )
        return self.clone(reference)

    def _request(self, request: SpeechRequest, options: Options) -> SpeechRequest:
        sampling = options.get("sampling", self.defaults)
        mode = None
        if "non_streaming_mode" in options:
            mode = TextMode.WHOLE if options["non_streaming_mode"] else TextMode.INCREMENTAL
        return replace(
            request,
            sampling=replace(sampling, seed=options.get("seed", sampling.seed)),
            delivery=Delivery(text_mode=mode),
        )
