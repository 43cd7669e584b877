"""Audio files without a server.

Many texts in one batch, then one text as it is made.
offline.py [MODEL]. A CustomVoice checkpoint, by default the embedded voice. It needs the server's packages.
"""

import sys

import soundfile

from engine.checkpoint.embedded import embedded_checkpoint
from engine.offline import Qwen3TTSInterface

TEXTS = ["The parcel is at the door.", "It is addressed to you.", "Will you open it?"]

with Qwen3TTSInterface(sys.argv[1] if len(sys.argv) > 1 else str(embedded_checkpoint())) as tts:
    for number, audio in enumerate(tts.generate(TEXTS, tts.custom_voice(seed=7)), 1):
        soundfile.write(f"offline_{number}.wav", audio.pcm, audio.sample_rate)

    with soundfile.SoundFile("offline_stream.wav", "w", tts.card.sample_rate, 1) as file:
        for chunk in tts.generate_custom_voice(" ".join(TEXTS), language="english", seed=7):
            file.write(chunk.pcm)
            print(f"{len(chunk.codes)} frames", flush=True)
