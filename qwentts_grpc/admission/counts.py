"""Counts shared by processes of one host.

By resource with tenant.
"""

from typing import Protocol


class Counts(Protocol):
    """What one process holds, beside the others' counts.

    `resource` names what is counted; `tenant` may be empty. Not thread-safe: it belongs to one event loop's thread.
    """

    def add(self, resource: str, tenant: str, units: int) -> None:
        """Count `units` more (signed) as held by this process."""

    def others(self, resource: str, tenant: str) -> int:
        """Units of a tenant held by other processes."""

    def others_total(self, resource: str) -> int:
        """Units of all tenants held by other processes."""

    def publish(self, resource: str, tenant: str, moment: int) -> None:
        """Publish a moment of this process, in nanoseconds.

        0 withdraws it.
        """

    def latest(self, resource: str, tenant: str) -> int:
        """Latest moment published by other processes; 0 for none."""


class LocalCounts:
    """Counts of a process without others."""

    def add(self, resource: str, tenant: str, units: int) -> None:
        pass

    def others(self, resource: str, tenant: str) -> int:
        return 0

    def others_total(self, resource: str) -> int:
        return 0

    def publish(self, resource: str, tenant: str, moment: int) -> None:
        pass

    def latest(self, resource: str, tenant: str) -> int:
        return 0


LOCAL = LocalCounts()
