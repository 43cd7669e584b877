"""The operator's rules for recordings: consent, deny list."""

from pathlib import Path

from engine.api.errors import InvalidRequest
from qwentts_grpc.voices.file import LONGEST
from qwentts_grpc.wire.errors import RecordingDenied

SHA256_BYTES = 32


class Consent:
    """Checks recordings before cloning.

    Belongs to the event loop's thread.
    """

    def __init__(self, required: bool = False, denied: Path | None = None) -> None:
        """`denied`: a file for `read_digests`; raises OSError if unreadable."""
        self.required = required
        self._path = denied
        self._denied: frozenset[bytes] = frozenset()
        self.reload()

    def reload(self) -> None:
        """Read the deny list again; keeps it on OSError."""
        if self._path is not None:
            self._denied = frozenset(read_digests(self._path))

    def check_reference(self, field: str, reference: str) -> None:
        """Raise `InvalidRequest` on `field` for a missing or long reference."""
        longest = LONGEST["consent_reference"]
        if len(reference) > longest:
            raise InvalidRequest(field, f"is longer than {longest} characters")
        if self.required and not any(map(str.isalnum, reference)):
            raise InvalidRequest(field, "is needed on this server for every recording", "CONSENT_MISSING")

    def check_recording(self, digest: bytes) -> None:
        """Raise `RecordingDenied` for a denied recording's SHA-256."""
        if digest in self._denied:
            raise RecordingDenied


def read_digests(path: Path) -> list[bytes]:
    """SHA-256 digests of a file; raises OSError.

    One a line in hex; `#` begins a comment.
    """
    try:
        words = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
        digests = [bytes.fromhex(word) for word in words if word]
    except (OSError, ValueError) as error:
        raise OSError(f"cannot read denied recordings from {path}: {error}") from error
    if any(len(digest) != SHA256_BYTES for digest in digests):
        raise OSError(f"{path} must hold the SHA-256 of a recording on each line, in hex")
    return digests
