"""A voice from a description.

voice_design.py [DESCRIPTION]. Serve a VoiceDesign checkpoint.
"""

import os
import sys

from qwentts_client import Client

DESCRIPTION = "A warm, low voice of an elderly man who has all the time in the world."

with Client(os.environ.get("QWENTTS_SERVER", "localhost:50051")) as client:
    summary = client.save(
        "voice_design.wav",
        "Sit down. The kettle is on, and the story is a long one.",
        instructions=sys.argv[1] if len(sys.argv) > 1 else DESCRIPTION,
        language="english",
    )
    print(f"voice_design.wav: the same voice again with seed={summary.seed}")
