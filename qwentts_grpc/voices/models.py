"""The loaded checkpoints, with routing of turns among them."""

from collections.abc import Callable, Sequence

from engine.api.client import EngineClient
from engine.api.errors import CheckpointError, InvalidRequest, Unsupported
from qwentts_client.v1 import tts_pb2


class ModelRegistry:
    """One engine a checkpoint, the default one first."""

    def __init__(self, engines: Sequence[EngineClient]) -> None:
        """Raises `CheckpointError` where two share a name."""
        self.engines = tuple(engines)
        names = [engine.card.name for engine in engines]
        if len(set(names)) < len(names):
            raise CheckpointError(f"two checkpoints have one name: {', '.join(sorted(names))}")

    @property
    def default(self) -> EngineClient:
        """The engine where the request decides nothing."""
        return self.engines[0]

    @property
    def can_clone(self) -> bool:
        """Whether any checkpoint clones recordings."""
        return any(engine.card.kind == "base" for engine in self.engines)

    @property
    def cloning(self) -> EngineClient:
        """The engine that clones recordings; raises `Unsupported` without one."""
        for engine in self.engines:
            if engine.card.kind == "base":
                return engine
        raise Unsupported("no checkpoint here can clone a voice: that takes a Base one")

    def named(self, model: str) -> EngineClient | None:
        """The engine of this name, or None."""
        return next((engine for engine in self.engines if engine.card.name == model), None)

    def route(self, config: tts_pb2.SynthesisConfig, origin_model: str = "") -> EngineClient:
        """The engine of a turn.

        The requested model, else the first capable one, else the default one, which then explains the refusal.
        `origin_model`: the checkpoint of the turn's created voice. Raises `InvalidRequest`, `Unsupported`.
        """
        if config.model and self.named(config.model) is None:
            loaded = ", ".join(repr(engine.card.name) for engine in self.engines)
            raise InvalidRequest("model", f"is not loaded here; this server has {loaded}")
        if origin_model and (config.model or origin_model) != origin_model:
            raise Unsupported(f"the voice was made by {origin_model!r}; it cannot be spoken by {config.model!r}")
        if origin_model and self.named(origin_model) is None:
            raise Unsupported(f"the voice was made by {origin_model!r}, which is not loaded here")
        able = _able(config, origin_model)
        return self.named(config.model) or next(filter(able, self.engines), self.default)


def has_voice(engine: EngineClient, name: str) -> bool:
    """Whether `name`, ignoring case, is a built-in voice."""
    return name.casefold() in (voice.casefold() for voice in engine.card.voices)


def _able(config: tts_pb2.SynthesisConfig, origin_model: str) -> Callable[[EngineClient], bool]:
    """Predicate: the checkpoint has what the turn needs."""
    if origin_model:
        return lambda engine: engine.card.name == origin_model
    if config.WhichOneof("voice_source") == "reference":
        return lambda engine: engine.card.kind == "base"
    if config.voice:
        return lambda engine: has_voice(engine, config.voice)
    if config.instructions:
        return lambda engine: engine.card.kind == "voice_design"
    return lambda engine: True
