"""What operators see of the whole gateway, and do about it."""
