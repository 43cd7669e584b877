"""Tensor parallelism: one talker over several GPUs.

`Team` starts a process for each further GPU (`worker`), tells it what to load, then each pass to take part in
(`messages`); what the passes exchange goes from device to device (`meeting`).
"""
