"""The command line; each command is a file, and other distributions may add theirs (`command.py`)."""
