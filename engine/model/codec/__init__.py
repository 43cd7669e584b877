"""The codec: codes to waveform, waveform to codes."""
