"""Steps on the device thread: prefill, frame and codec stages, run eagerly or as pipelined CUDA graphs."""
