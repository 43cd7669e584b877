"""Qwen3-TTS as an engine: continuous batching over one device.

`engine.Engine` opens a speech for each request; `step_loop.StepLoop` is the hot path, in four verbs.

api        values of the public interface: requests, events, errors, settings, metrics; no torch
prompt     text to prompt tokens; no torch
speeches   callers' handles, their events, time limits, recordings being prepared; no torch
scheduler  contents of the next step: sequences, blocks, chunks; no torch
parallel   the talker over several GPUs: rank 0's side, the processes of the others
runner     steps on the device thread: eager, or pipelined CUDA graphs
model      the maths of talker, predictor, codec, speaker encoder
ops        the operations that differ by device: reference, Triton, flash-attn
checkpoint a folder or a hub id to config and tensors
"""
