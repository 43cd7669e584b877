"""A fleet in simulated time.

Its servers by hour, its cost, its faults.
device    one GPU by the real scheduler and measured graph times
fleet     thousands of such GPUs, a balancer, callers
day       a day's curve with the fleet's own scaling
events    a host lost, a rolling update
picture   the figures as SVG
"""
