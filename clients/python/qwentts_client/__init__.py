"""The light client of qwentts-grpc: text in, speech out.

Needs neither engine nor weights.
"""

from qwentts_client.audio import AudioSink as AudioSink
from qwentts_client.audio import write_audio as write_audio
from qwentts_client.audio import write_wav as write_wav
from qwentts_client.client import AsyncClient as AsyncClient
from qwentts_client.errors import TextSourceError as TextSourceError
from qwentts_client.errors import TTSError as TTSError
from qwentts_client.options import synthesis_config as synthesis_config
from qwentts_client.sync import Client as Client
from qwentts_client.sync import SyncTurn as SyncTurn
from qwentts_client.sync import SyncWritableTurn as SyncWritableTurn
from qwentts_client.text import Flush as Flush
from qwentts_client.text import Text as Text
from qwentts_client.tls import client_credentials as client_credentials
from qwentts_client.turn import Event as Event
from qwentts_client.turn import Turn as Turn
from qwentts_client.turn import WritableTurn as WritableTurn
from qwentts_client.v1.tts_pb2 import AudioFrame as AudioFrame
from qwentts_client.v1.tts_pb2 import FlushDone as FlushDone
from qwentts_client.v1.tts_pb2 import Notice as Notice
from qwentts_client.v1.tts_pb2 import SegmentDone as SegmentDone
from qwentts_client.v1.tts_pb2 import Started as Started
from qwentts_client.v1.tts_pb2 import Summary as Summary
from qwentts_client.v1.tts_pb2 import SynthesisConfig as SynthesisConfig
from qwentts_client.v1.tts_pb2 import Voice as Voice

__version__ = "0.1.0"
