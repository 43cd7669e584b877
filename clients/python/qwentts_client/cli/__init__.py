"""The command line, one file a command.

Other distributions may add commands (`command.py`).
"""
