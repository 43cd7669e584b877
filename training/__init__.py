"""How the embedded voice was made; README.md in this folder tells the steps in order.

corpus     sentences and their phonemes
teacher    who speaks them: synthesisers and their speakers
codec      sound to codes and back, trained
speaker    the speaker encoder of clones, trained
talker     text and codes to codes, trained
evaluate   what a recogniser understands of a voice: `make eval-voice`
"""
