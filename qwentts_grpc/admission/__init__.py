"""Admission: state, tokens, tenants, limits of calls."""
