"""The former name of `qwentts_client.v1.tts_pb2_grpc`."""

import sys

from qwentts_client.v1 import tts_pb2_grpc
from qwentts_client.v1.tts_pb2_grpc import *  # noqa: F403

sys.modules[__name__] = tts_pb2_grpc
