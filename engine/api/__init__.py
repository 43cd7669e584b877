"""Values that callers see: requests, events, errors, settings, voices, metrics. No torch."""
