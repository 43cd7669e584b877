"""The open-loop load test.

Requests are sent on a fixed schedule over real gRPC, whether or not earlier ones ended.
"""
