"""A folder or a hub id to config and tensors, and the checkpoints that come along: embedded voices, dummies."""
