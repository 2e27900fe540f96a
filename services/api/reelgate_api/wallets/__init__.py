"""Balances, their ledgers, and what moves them besides jobs; the prices."""
