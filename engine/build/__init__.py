"""An engine from a checkpoint: the one place where all rooms meet.

start.py     load, wire, speak once; warmup.py that speech
parts.py     all parts of an engine, from memory sizes to the runner
codecs.py    codec decoder, encoders; devices.py devices and dtype, from the settings
"""

from engine.build.parts import Parts as Parts
from engine.build.start import build_engine as build_engine
from engine.build.start import load_parts as load_parts
from engine.build.start import start_engine as start_engine
