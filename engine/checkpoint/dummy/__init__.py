"""Checkpoints of random weights in the real layout.

For tests, benchmarks and a first start.
"""

from engine.checkpoint.dummy.configs import KINDS, Size
from engine.checkpoint.dummy.write import DummyCheckpoint, dummy_tensors, write_checkpoint

__all__ = ["KINDS", "DummyCheckpoint", "Size", "dummy_tensors", "write_checkpoint"]
