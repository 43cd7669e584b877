"""A built-in voice with an instruction on style.

custom_voice.py [VOICE]. Serve a CustomVoice checkpoint.
"""

import os
import sys

from qwentts_client import Client

with Client(os.environ.get("QWENTTS_SERVER", "localhost:50051")) as client:
    voices = [voice.name for voice in client.voices(language="english")]
    print("voices:", ", ".join(voices))
    summary = client.save(
        "custom_voice.wav",
        "The parcel is at the door, and it is addressed to you.",
        voice=sys.argv[1] if len(sys.argv) > 1 else voices[0],
        language="english",
        instructions="Very happy.",
        seed=7,  # the same speech every time
    )
    print(f"custom_voice.wav: {summary.audio_duration.ToTimedelta().total_seconds():.2f} s")
