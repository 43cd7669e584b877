"""Six formats, by the server's encoders or by libav."""

from dataclasses import dataclass

from qwentts_client.audio import wav_header
from qwentts_client.options import audio_format
from qwentts_grpc.http.libav import Encoder, Filters, Stage

RATE = 24_000
PCM = "pcm_s16le"


@dataclass(frozen=True)
class Format:
    """One value of `response_format`.

    encoding: the server's, empty where it has none. muxer, codec, options: libav's; empty for bare samples.
    """

    media_type: str
    encoding: str = ""
    muxer: str = ""
    codec: str = ""
    bit_rate: int = 0


FORMATS = {
    "mp3": Format("audio/mpeg", muxer="mp3", codec="libmp3lame", bit_rate=96_000),
    "opus": Format("audio/ogg", "ogg_opus", "ogg", "libopus", 48_000),
    "aac": Format("audio/aac", muxer="adts", codec="aac", bit_rate=96_000),
    "flac": Format("audio/flac", "flac", "flac", "flac"),
    "wav": Format("audio/wav", "wav"),
    "pcm": Format("audio/pcm", PCM),
}


class Pipeline:
    """What is done here to a turn's audio.

    `encoding`: what to ask the server for. Without stages its bytes are passed on.
    """

    def __init__(self, name: str, speed: float = 1.0, volume: float = 1.0) -> None:
        form = FORMATS[name]
        changed = speed != 1.0 or volume != 1.0
        self.media_type = form.media_type
        self.encoding = form.encoding if form.encoding and not changed else PCM
        self.stages: list[Stage] = [Filters(RATE, speed, volume)] if changed else []
        if form.codec and self.encoding != form.encoding:
            self.stages.append(Encoder(form.muxer, form.codec, RATE, form.bit_rate))
        self._head = wav_header(audio_format(PCM, RATE), None) if changed and name == "wav" else b""

    def open(self) -> None:
        """Initialise the stages, which takes milliseconds: before the first audio."""
        for stage in self.stages:
            stage.open()

    def process(self, data: bytes) -> bytes:
        """Bytes that are complete with `data`."""
        for stage in self.stages:
            data = stage.process(data)
        return self._headed(data)

    def finish(self) -> bytes:
        """The last bytes."""
        data = b""
        for stage in self.stages:
            data = stage.process(data) + stage.finish()
        return self._headed(data)

    def _headed(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + data
