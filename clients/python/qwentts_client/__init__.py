"""The light client of qwentts-grpc: text in, speech out; needs no engine and no torch."""

from qwentts_client.client import AsyncClient as AsyncClient
from qwentts_client.client import Text as Text
from qwentts_client.client import Turn as Turn
from qwentts_client.client import write_wav as write_wav

__version__ = "0.1.0"
