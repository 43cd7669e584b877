"""`python -m qwentts_client`: the command line."""

from qwentts_client.cli.main import main

main()
