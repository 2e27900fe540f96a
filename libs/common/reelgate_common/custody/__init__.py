"""Custody: videos are copied to a bucket of the operator's, and given from there."""
