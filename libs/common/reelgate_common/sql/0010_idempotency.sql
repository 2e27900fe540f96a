-- Why: a request with an Idempotency-Key may make something other than a job: its answer is kept instead of a job's id.
-- Old code keeps working.

ALTER TABLE idempotency_keys
    ALTER COLUMN job_id DROP NOT NULL,
    ADD COLUMN answer jsonb,
    ADD CONSTRAINT idempotency_keys_one_outcome CHECK (num_nonnulls(job_id, answer) = 1) NOT VALID;
ALTER TABLE idempotency_keys VALIDATE CONSTRAINT idempotency_keys_one_outcome;
