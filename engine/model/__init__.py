"""The maths of the model, as in the papers: talker, code predictor, codec, speaker encoder."""
