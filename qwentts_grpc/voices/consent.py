"""The operator's rules for recordings: whether consent must be on record, and which recordings nobody may clone."""

from pathlib import Path

from engine.api.errors import InvalidRequest
from qwentts_grpc.voices.file import LONGEST
from qwentts_grpc.wire.errors import RecordingDenied

SHA256_BYTES = 32


class Consent:
    """Checks what callers want to clone. Belongs to the event loop's thread."""

    def __init__(self, required: bool = False, denied: Path | None = None) -> None:
        """`denied`: a file for `read_digests`. Raises OSError where it cannot be read."""
        self.required = required
        self._path = denied
        self._denied: frozenset[bytes] = frozenset()
        self.reload()

    def reload(self) -> None:
        """Read the denied recordings again; raises OSError, and then they stay as they were."""
        if self._path is not None:
            self._denied = frozenset(read_digests(self._path))

    def check_reference(self, field: str, reference: str) -> None:
        """Raise `InvalidRequest` on `field` where the reference to a consent is missing or too long."""
        longest = LONGEST["consent_reference"]
        if len(reference) > longest:
            raise InvalidRequest(field, f"is longer than {longest} characters")
        if self.required and not any(map(str.isalnum, reference)):
            raise InvalidRequest(field, "is needed on this server for every recording", "CONSENT_MISSING")

    def check_recording(self, digest: bytes) -> None:
        """Raise `RecordingDenied` for the SHA-256 of a recording that nobody may clone."""
        if digest in self._denied:
            raise RecordingDenied


def read_digests(path: Path) -> list[bytes]:
    """The SHA-256 digests in a file, one a line in hex, `#` beginning a comment; raises OSError."""
    try:
        words = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
        digests = [bytes.fromhex(word) for word in words if word]
    except (OSError, ValueError) as error:
        raise OSError(f"cannot read denied recordings from {path}: {error}") from error
    if any(len(digest) != SHA256_BYTES for digest in digests):
        raise OSError(f"{path} must hold the SHA-256 of a recording on each line, in hex")
    return digests
