"""Options of a turn."""

from __future__ import annotations

from dataclasses import dataclass, field

from qwentts_client import SynthesisConfig, synthesis_config


@dataclass(frozen=True)
class Options:
    """Options of turns; `more` has further fields, which take precedence."""

    model: str
    voice: str
    language: str
    instructions: str
    seed: int | None
    sample_rate: int
    more: SynthesisConfig = field(repr=False)

    def __post_init__(self) -> None:
        self.config("")

    def config(self, request_id: str) -> SynthesisConfig:
        """The config of a turn.

        Raises TypeError and ValueError as `qwentts_client.synthesis_config` does.
        """
        return synthesis_config(
            model=self.model,
            voice=self.voice,
            language=self.language,
            instructions=self.instructions,
            seed=self.seed,
            sample_rate=self.sample_rate,
            request_id=request_id,
            config=self.more,
        )
