"""The loaded checkpoints, and which of them a turn is for."""

from collections.abc import Callable, Sequence

from engine.api.errors import CheckpointError, InvalidRequest, Unsupported
from engine.engine import Engine
from qwentts_client.v1 import tts_pb2


class ModelRegistry:
    """One engine a checkpoint, the default one first."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        """Raises `CheckpointError` where two share a name."""
        self.engines = tuple(engines)
        names = [engine.card.name for engine in engines]
        if len(set(names)) < len(names):
            raise CheckpointError(f"two checkpoints have one name: {', '.join(sorted(names))}")

    @property
    def default(self) -> Engine:
        """Who speaks where nothing in the request says otherwise."""
        return self.engines[0]

    @property
    def can_clone(self) -> bool:
        """Whether any checkpoint makes voices of recordings."""
        return any(engine.card.kind == "base" for engine in self.engines)

    @property
    def cloning(self) -> Engine:
        """The checkpoint that makes voices of recordings; raises `Unsupported` where there is none."""
        for engine in self.engines:
            if engine.card.kind == "base":
                return engine
        raise Unsupported("no checkpoint here can clone a voice: that takes a Base one")

    def named(self, model: str) -> Engine | None:
        """The checkpoint of this name, or None."""
        return next((engine for engine in self.engines if engine.card.name == model), None)

    def of(self, config: tts_pb2.SynthesisConfig, home: str = "") -> Engine:
        """Who speaks this turn: the model asked for, else the first that can, else the default one, which says why not.

        `home`: the checkpoint that made the created voice of the turn. Raises `InvalidRequest`, `Unsupported`.
        """
        if config.model and self.named(config.model) is None:
            loaded = ", ".join(repr(engine.card.name) for engine in self.engines)
            raise InvalidRequest("model", f"is not loaded here; this server has {loaded}")
        if home and (config.model or home) != home:
            raise Unsupported(f"the voice was made by {home!r}; it cannot be spoken by {config.model!r}")
        if home and self.named(home) is None:
            raise Unsupported(f"the voice was made by {home!r}, which is not loaded here")
        able = _able(config, home)
        return self.named(config.model) or next(filter(able, self.engines), self.default)


def has_voice(engine: Engine, name: str) -> bool:
    """Whether `name`, in any case, is one of the checkpoint's own voices."""
    return name.casefold() in (voice.casefold() for voice in engine.card.voices)


def _able(config: tts_pb2.SynthesisConfig, home: str) -> Callable[[Engine], bool]:
    """What a checkpoint must be able to do for this turn."""
    if home:
        return lambda engine: engine.card.name == home
    if config.WhichOneof("voice_source") == "reference":
        return lambda engine: engine.card.kind == "base"
    if config.voice:
        return lambda engine: has_voice(engine, config.voice)
    if config.instructions:
        return lambda engine: engine.card.kind == "voice_design"
    return lambda engine: True
