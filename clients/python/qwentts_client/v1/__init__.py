"""Generated stubs of the wire contract `qwentts.v1`; `make proto` writes them."""
