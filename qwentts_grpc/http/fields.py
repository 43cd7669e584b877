"""Fields of a speech request: OpenAI's, those of Qwen3-TTS servers."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwentts_grpc.http.errors import RefusedError
from qwentts_grpc.http.formats import FORMATS
from qwentts_grpc.http.settings import Aliases

SLOWEST, FASTEST = 0.25, 4.0
LOUDEST = 3.0
STREAM_FORMATS = ("audio", "sse")


@dataclass(frozen=True)
class SpeechFields:
    """One body, checked. `options`: of `AsyncClient.synthesize`."""

    text: str
    response_format: str
    speed: float
    volume: float
    events: bool
    options: Mapping[str, Any]


def speech_fields(body: Mapping[str, Any], aliases: Aliases) -> SpeechFields:
    """The fields of `body`; unknown ones are ignored, as null.

    `input`, `voice`, `model`, `instructions`, `response_format`, `speed`, `stream_format` are OpenAI's. `text`,
    `speaker`, `volume`, `language` come from Qwen3-TTS servers whose answer is PCM; `ref_audio` (base64 or a data URL),
    `ref_text`, `consent`, `seed` from others. Raises `RefusedError`.
    """
    given = {name: value for name, value in body.items() if value is not None}
    theirs = "input" not in given and "text" in given
    text = _text(given, "text" if theirs else "input")
    if not text:
        raise RefusedError(400, "there is no input to speak", "input", "missing_required_parameter")
    return SpeechFields(
        text=text,
        response_format=_choice(given, "response_format", FORMATS, "pcm" if theirs else "mp3"),
        speed=_number(given, "speed", SLOWEST, FASTEST),
        volume=_number(given, "volume", 0.0, LOUDEST),
        events=_choice(given, "stream_format", STREAM_FORMATS, "audio") == "sse",
        options=turn_options(given, aliases, _recording(given)),
    )


def turn_options(given: Mapping[str, Any], aliases: Aliases, recording: bytes | None = None) -> dict[str, Any]:
    """Options of `AsyncClient.synthesize`, of these fields alone.

    `recording` takes the place of a voice. Raises `RefusedError`.
    """
    options: dict[str, Any] = {
        "model": aliases.model(_text(given, "model")),
        "instructions": _text(given, "instructions"),
        "language": _text(given, "language"),
        "seed": _seed(given),
    }
    if recording is None:
        return {**options, "voice": aliases.voice(_voice(given))}
    cloned = {"transcript": _text(given, "ref_text"), "consent_reference": _text(given, "consent")}
    return {**options, **cloned, "reference": recording}


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _invalid(name, "not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid(name, "no Unicode: it has half a surrogate pair") from None
    return value


def _voice(given: Mapping[str, Any]) -> str:
    """A name, or OpenAI's object with one as its id."""
    name = "voice" if "voice" in given else "speaker"
    value = given.get(name)
    return _text({name: value.get("id")} if isinstance(value, dict) else given, name)


def _choice(given: Mapping[str, Any], name: str, choices: Any, default: str) -> str:
    value = _text(given, name) or default
    if value not in choices:
        raise _invalid(name, f"not one of {', '.join(choices)}")
    return value


def _number(given: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = given.get(name, 1.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise _invalid(name, f"not a number from {low:g} to {high:g}")
    return float(value)


def _seed(given: Mapping[str, Any]) -> int | None:
    value = given.get("seed")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64):
        raise _invalid("seed", "not a whole number from 0 to 2**64 - 1")
    return value


def _recording(given: Mapping[str, Any]) -> bytes | None:
    """A file in base64, perhaps as a data URL.

    No URL is fetched.
    """
    if "ref_audio" not in given:
        return None
    head, comma, rest = _text(given, "ref_audio").rpartition(",")
    try:
        if comma and not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode(rest, validate=True)
    except ValueError:  # binascii.Error among them
        raise _invalid("ref_audio", "neither base64 nor a data URL of it") from None


def _invalid(name: str, why: str) -> RefusedError:
    return RefusedError(400, f"{name}: {why}", name, "invalid_value")
