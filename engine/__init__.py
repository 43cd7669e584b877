"""Speech from text: the Qwen3-TTS engine, without any transport."""
