"""What a job is, what it costs and what may happen to it. Pure: no transport, no storage."""
