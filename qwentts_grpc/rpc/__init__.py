"""What every RPC has: id, status, interceptors, TLS, tracing."""
