"""Rows of text in columns."""

from collections.abc import Sequence
from typing import Any


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of one length, without columns empty in all."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
        print("  ".join(cells).rstrip())


def short_enum(kind: Any, value: int) -> str:
    """An enum's value in lower case, without its common prefix."""
    name, prefix = str(kind.Name(value)), str(kind.Name(0)).removesuffix("UNSPECIFIED")
    return name.removeprefix(prefix).lower()
