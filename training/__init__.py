"""Training of the embedded voice; README.md has the steps.

corpus     sentences and their phonemes
teacher    synthesisers and their speakers
codec      sound to codes and back, trained
speaker    the speaker encoder of clones, trained
talker     text and codes to codes, trained
evaluate   what a recogniser understands of a voice: `make eval-voice`
"""
