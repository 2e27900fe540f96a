"""Kie.ai's Veo API: the one client, and what its answers mean."""
