"""The local stack: private servers, the five processes, the demo."""
