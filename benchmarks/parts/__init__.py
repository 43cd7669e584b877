"""The parts of `make bench-gpu`, one measurement a file."""
