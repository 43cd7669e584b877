"""`python -m qwentts_grpc`: the command line."""

from qwentts_client.cli.main import main

main()
