"""Codec: codes to waveform, waveform to codes."""
