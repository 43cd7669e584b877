"""A Pipecat TTS service for qwentts-grpc servers."""

from pipecat_qwentts.service import QwenTTSService as QwenTTSService
from pipecat_qwentts.settings import QwenTTSSettings as QwenTTSSettings
