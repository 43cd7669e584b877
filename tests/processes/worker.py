"""A child process of a server with fake engines."""

from tests.processes.fakes import install

install()  # before anything asks for torch

from qwentts_grpc.processes.worker import main  # noqa: E402

if __name__ == "__main__":
    main()
