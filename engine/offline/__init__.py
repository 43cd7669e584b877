"""The engine without an event loop.

Whole texts in, audio out.
loop_thread    an event loop on a thread
audio          a text's audio, a batch's errors
engine         OfflineEngine: batches, streams, voices of recordings
interface      Qwen3TTSInterface: the same by the verbs of the reference implementation
recordings     files and samples of any rate
"""

from engine.offline.audio import Audio as Audio
from engine.offline.audio import BatchFailed as BatchFailed
from engine.offline.engine import Chunks as Chunks
from engine.offline.engine import OfflineEngine as OfflineEngine
from engine.offline.interface import Qwen3TTSInterface as Qwen3TTSInterface
