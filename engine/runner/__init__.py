"""Steps on the device thread.

Prefill, frame and codec stages, run eagerly or as pipelined CUDA graphs.
"""
