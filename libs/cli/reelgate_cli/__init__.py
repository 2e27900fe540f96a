"""The reelgate command: migrate, topology, keys, parked messages."""
