"""The open-loop load test: requests are sent on a fixed schedule over real gRPC, whether or not earlier ones ended."""
