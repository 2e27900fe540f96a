"""Polls stale tasks, heals what got stuck, refunds what did not deliver."""
