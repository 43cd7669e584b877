"""Checkpoint of the small voice in the package.

The README.md in its folder describes it.
"""

from pathlib import Path


def embedded_checkpoint() -> Path:
    """Path of the embedded checkpoint."""
    return Path(__file__).parent / "embedded_voices" / "joe_slt"
