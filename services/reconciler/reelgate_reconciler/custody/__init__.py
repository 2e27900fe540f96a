"""Custody: completed videos are copied to the operator's bucket, and removed from it when their time is over."""
