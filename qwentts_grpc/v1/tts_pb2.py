"""The former name of `qwentts_client.v1.tts_pb2`."""

import sys

from qwentts_client.v1 import tts_pb2
from qwentts_client.v1.tts_pb2 import *  # noqa: F403

sys.modules[__name__] = tts_pb2
