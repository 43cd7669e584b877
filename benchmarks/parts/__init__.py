"""The parts of `make bench-gpu`; each file measures one thing, and says which in its first line."""
