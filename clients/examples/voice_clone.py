"""A voice from a recording: for one turn, then stored.

voice_clone.py RECORDING TRANSCRIPT. Serve a Base checkpoint.
"""

import os
import sys
from pathlib import Path

from qwentts_client import Client

recording, transcript = Path(sys.argv[1]).read_bytes(), sys.argv[2]

with Client(os.environ.get("QWENTTS_SERVER", "localhost:50051")) as client:
    # For one turn, the recording goes along with it.
    client.save("clone_once.wav", "You have heard me before.", reference=recording, transcript=transcript)

    # For many turns, the server keeps the voice under a name.
    voice = client.create_voice("narrator", recording, transcript=transcript, replace=True, on_notice=print)
    for chapter, text in enumerate(("It was a bright cold day.", "The clocks were striking."), 1):
        client.save(f"clone_{chapter}.wav", text, voice=voice.name)
    client.delete_voice(voice.name)
