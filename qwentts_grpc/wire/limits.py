"""Limits of one call."""

from dataclasses import dataclass, field

NAME = 256  # characters of a voice, model, language or flush mark
REQUEST_ID = 128  # characters


@dataclass(frozen=True, slots=True)
class RecordingLimits:
    """Bounds of a recording.

    `samples`: over all channels, at the file's own rate: decoding costs that much.
    """

    bytes: int = 10 * 2**20
    min_seconds: float = 1.0
    max_seconds: float = 60.0
    samples: int = 60 * 192_000 * 2

    def seconds_at(self, rate: int, channels: int) -> float:
        """The longest recording of this shape, in seconds."""
        return min(self.max_seconds, self.samples / (rate * channels))


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in the unit of their name, times in seconds."""

    text_characters: int = 60_000  # of a whole turn, and of its instructions
    chunk_bytes: int = 4_096  # of one text message
    appends: int = 65_536  # text and empty messages of one turn: a text of full length may come by the character
    flushes: int = 1_024  # of one turn
    audio_seconds: float = 21_600.0  # longest `max_audio`
    recording: RecordingLimits = field(default_factory=RecordingLimits)
    upload_timeout: float = 60.0  # to receive a recording, including the wait for memory to hold it
    call_age: float = 24_000.0  # of a turn: longer than the longest audio
    write_timeout: float = 20.0  # to write one message
    config_timeout: float = 30.0  # to receive the first message of a turn
    shortest_deadline: float = 0.02  # a call with less time left, or less beyond the queue wait, is refused at once
