-- Why: a finished video can be extended and upgraded by jobs of their own; questions to Kie.ai get a
-- limit that all replicas share; and what Kie.ai bills us is written down, watched and can be capped.
-- Old code keeps working.

ALTER TABLE video_jobs
    ADD COLUMN operation text NOT NULL DEFAULT 'generate'
        CHECK (operation IN ('generate', 'extend', 'upgrade_1080p', 'upgrade_4k')),
    -- The finished video that an extension or an upgrade is about.
    ADD COLUMN source_job_id uuid REFERENCES video_jobs,
    ADD COLUMN source_task_id text,
    ADD COLUMN seeds integer,
    ADD COLUMN enable_translation boolean NOT NULL DEFAULT true,
    ADD CHECK ((operation = 'generate') = (source_job_id IS NULL)),
    ADD CHECK ((operation = 'generate') = (source_task_id IS NULL));
CREATE INDEX video_jobs_source ON video_jobs (source_job_id) WHERE source_job_id IS NOT NULL;
-- What is, or may be, at Kie.ai: counted for the cap on concurrent tasks.
CREATE INDEX video_jobs_in_flight ON video_jobs (status) WHERE status IN ('submitting', 'unknown', 'processing');

-- An upgrade has no task of its own: it is asked about by the task of its source.
DROP INDEX job_attempts_task;
CREATE UNIQUE INDEX job_attempts_task ON job_attempts (task_id)
    WHERE task_id IS NOT NULL AND operation IN ('generate', 'extend');

-- A call does what its job asks for. Code from before this file, running beside newer code, would otherwise
-- send an extension as a new video.
CREATE FUNCTION refuse_other_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.operation IS DISTINCT FROM (SELECT operation FROM video_jobs WHERE id = NEW.job_id) THEN
        RAISE EXCEPTION 'job % does not ask for %', NEW.job_id, NEW.operation
            USING ERRCODE = 'check_violation', CONSTRAINT = 'attempt_operation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER job_attempts_operation BEFORE INSERT ON job_attempts
    FOR EACH ROW EXECUTE FUNCTION refuse_other_operation();

-- What Kie.ai should bill us for the call, in its credits, which have a fraction.
ALTER TABLE job_attempts ADD COLUMN vendor_cost double precision NOT NULL DEFAULT 0;

-- One row: our account at Kie.ai as it was last seen.
CREATE TABLE vendor_account (
    id         boolean PRIMARY KEY DEFAULT true CHECK (id),
    asked_at   timestamptz NOT NULL DEFAULT 'epoch',
    balance    double precision,
    balance_at timestamptz,
    capped_at  timestamptz     -- when the limit of that day's spending stopped the sends
);
INSERT INTO vendor_account DEFAULT VALUES;

-- Like send_slots: one row for each question Kie.ai takes in a second.
CREATE TABLE query_slots (
    n       integer PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 50);
