"""Outgoing webhooks: what is due is signed, sent to an address that was checked, and recorded."""
