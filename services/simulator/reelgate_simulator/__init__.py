"""A faithful, free stand-in for Kie.ai's Veo 3.1 API."""
