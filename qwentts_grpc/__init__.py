"""gRPC in front of the engine: the service, the command line and the light Python client."""
