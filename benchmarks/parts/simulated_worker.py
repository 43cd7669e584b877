"""A child process of a simulated server."""

from benchmarks.parts.simulated import simulate
from qwentts_grpc.processes.worker import main

if __name__ == "__main__":
    simulate()
    main()
