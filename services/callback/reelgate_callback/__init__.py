"""Receives Kie.ai's webhook, stores it, and settles the job by what record-info says."""
