"""Attention by the flash-attn package."""
