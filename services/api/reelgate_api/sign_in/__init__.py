"""Signing in with a wallet: a signed EIP-4361 message opens a short session for that wallet."""
