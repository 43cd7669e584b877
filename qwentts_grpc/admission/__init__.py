"""Who may come in: the server's state, tokens, tenants, limits of calls."""
