"""gRPC in front of the engine: the service and its process; the Python client is `qwentts_client`."""

from qwentts_client import __version__ as __version__
