"""Benchmarks: load test, engine, kernels, host, soak.

load      open-loop load test over gRPC, plot_load its picture
gpu       `make bench-gpu`: every figure in one table, from `parts`
cpu       `make bench`: the engine beside qwen-tts
kernels   captured frames with random weights
tensor_parallel  the same with the talker over several GPUs
host      the host alone, over a simulated device
soak      minutes of mixed turns, then checks for leaks
"""
