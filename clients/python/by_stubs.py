"""A turn by the committed stubs alone.

by_stubs.py ADDRESS PCM_FILE REQUEST... (hexadecimal) -> facts, one a line.
"""

import sys

import grpc

from qwentts_client.v1 import tts_pb2, tts_pb2_grpc

address, pcm, *requests = sys.argv[1:]
messages = [tts_pb2.SynthesizeRequest.FromString(bytes.fromhex(request)) for request in requests]
with grpc.insecure_channel(address) as channel, open(pcm, "wb") as audio:
    call = tts_pb2_grpc.TTSServiceStub(channel).Synthesize(iter(messages), timeout=30)
    try:
        for response in call:
            audio.write(response.audio.data)
    except grpc.RpcError:
        pass  # the code carries the same information
    print("code", call.code().value[0])
    for key, value in call.trailing_metadata():
        print(key, value.hex() if isinstance(value, bytes) else value)
