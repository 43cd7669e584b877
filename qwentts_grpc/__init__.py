"""gRPC in front of the engine: the service, the command line and the light Python client."""

__version__ = "0.1.0"
