"""A LiveKit Agents TTS plugin for qwentts-grpc servers."""

from livekit.agents import Plugin

from .log import logger
from .streams import ChunkedStream as ChunkedStream
from .streams import SynthesizeStream as SynthesizeStream
from .tts import TTS as TTS
from .version import __version__ as __version__


class QwenTTSPlugin(Plugin):
    """The plugin, for LiveKit's registry."""

    def __init__(self) -> None:
        super().__init__(__name__, __version__, __package__ or __name__, logger)


Plugin.register_plugin(QwenTTSPlugin())
