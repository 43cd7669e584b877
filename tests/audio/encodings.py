"""Names for the rows of the table of encodings."""

from qwentts_grpc.audio.encoders import ENCODINGS

PCM_S16LE, PCM_F32LE, MULAW, ALAW, OGG_OPUS, FLAC, WAV = ENCODINGS.values()
