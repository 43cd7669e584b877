"""What the process stands on: memory, standard output, unsafe settings."""
