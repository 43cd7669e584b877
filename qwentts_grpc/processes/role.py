"""Interface of the parts that a child process can play."""

from typing import Protocol


class Role(Protocol):
    """What a child process does."""

    async def run(self) -> int:
        """Serve to the end; return the exit code.

        Raises `CheckpointError` and OSError where another start would fail too.
        """

    def receive(self, number: int, message: object) -> None:
        """Take a message of the supervisor."""
