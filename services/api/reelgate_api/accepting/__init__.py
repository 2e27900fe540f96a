"""Accepting jobs: one statement for all that come at the same time."""
