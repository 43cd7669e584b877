"""Values of the public interface, without torch.

Requests, events, errors, settings, voices, metrics.
"""
