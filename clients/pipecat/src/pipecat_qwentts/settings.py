"""What a pipeline may change while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipecat.services.settings import TTSSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven, is_given

from qwentts_client import SynthesisConfig, synthesis_config


@dataclass
class QwenTTSSettings(TTSSettings):
    """Settings of the next turn; `TTSUpdateSettingsFrame` changes them.

    `model` is a checkpoint that the server has loaded (None: its first), `voice` one of its voices (None: the first),
    `language` a `Language` or a name (None: detected).

    instructions: how to speak, or the voice to design.
    seed: repeats the speech of one text.
    """

    instructions: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    seed: int | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)

    @classmethod
    def complete(cls, given: QwenTTSSettings | None) -> QwenTTSSettings:
        """`given` with None for what it leaves out."""
        settings = cls(model=None, voice=None, language=None, instructions=None, seed=None)
        if given is not None:
            settings.apply_update(given)
        return settings

    def config(self, more: SynthesisConfig | None, **fields: Any) -> SynthesisConfig:
        """The config of a turn; `more` takes precedence.

        Raises TypeError and ValueError as `qwentts_client.synthesis_config` does.
        """
        return synthesis_config(
            model=self.model or "",
            voice=self.voice or "",
            language=str(self.language or ""),
            instructions=self.instructions or "",
            seed=self.seed if is_given(self.seed) else None,
            config=more,
            **fields,
        )
