"""Process environment: memory, standard output, unsafe settings."""
