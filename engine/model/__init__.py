"""Maths of the model, as in the papers.

Talker, code predictor, codec, speaker encoder.
"""
