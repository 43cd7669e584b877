"""Steps on the device thread.

A runner takes a batch through three stages: prefill, frame, codec.

eager.py          each step completed at once, on any device
pipelined.py      CUDA graphs, one step ahead; launched.py a step under way, staging.py its host memory
step_graphs.py    the graphs of all stages, over cuda_graphs.py; pacer.py launch times
inputs.py         a step as one integer table; slot_state.py device state, a row a slot
cloner.py         recordings to voices
"""
