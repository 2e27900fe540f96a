-- Why: in the OpenAI format a finished video can be deleted, and a client repeats a request whose answer it
-- did not get without saying which one it repeats: what was asked is remembered, to know the repetition.
-- Old code keeps working.

ALTER TABLE video_jobs ADD COLUMN hidden_at timestamptz;   -- deleted by its owner: not shown under /v1 any more

-- Requests that came without an Idempotency-Key, for as long as they may be repeated.
CREATE TABLE blind_requests (
    job_id        uuid PRIMARY KEY REFERENCES video_jobs ON DELETE CASCADE,
    owner         text NOT NULL,      -- as in idempotency_keys
    request_hash   bytea NOT NULL,     -- SHA-256 of what was asked for
    retry         integer NOT NULL,   -- the highest count of a retry that was answered with this job
    original_came boolean NOT NULL,   -- false: made by a retry, and the request it repeats may still be under way
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp()   -- last time it was asked for
);
CREATE INDEX blind_requests_same ON blind_requests (owner, request_hash);
CREATE INDEX blind_requests_seen ON blind_requests (seen_at);
