"""Checkpoints: a folder or a hub id to config, tensors.

With the embedded voices, and dummies of random weights.
"""
