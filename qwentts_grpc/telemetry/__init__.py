"""Metrics, logs."""
