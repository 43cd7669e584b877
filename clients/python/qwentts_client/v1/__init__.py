"""Generated stubs of `qwentts.v1`, written by `make proto`."""
