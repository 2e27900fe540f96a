"""Idempotency-Key: a request that is repeated has its effect once."""
