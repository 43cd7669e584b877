"""The checkpoint that comes with the package: a small trained voice, which the README.md in its folder describes."""

from pathlib import Path


def embedded_checkpoint() -> Path:
    """Its folder."""
    return Path(__file__).parent / "embedded_voices" / "joe_slt"
