"""Takes job.requested permits from the broker and sends each job to Kie.ai once."""
