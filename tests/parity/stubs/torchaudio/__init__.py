"""Stands in for torchaudio, which qwen-tts imports for its 25 Hz tokenizer alone and these tests never call."""
