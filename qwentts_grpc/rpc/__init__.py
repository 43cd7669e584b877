"""What every RPC has: an id, a status, interceptors, TLS, tracing."""
