"""Outgoing webhooks: endpoints, secrets, the log of deliveries, and sending again."""
