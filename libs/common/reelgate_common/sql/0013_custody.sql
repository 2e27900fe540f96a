-- Why: Kie.ai deletes a video after 14 days at most, so it is copied to a bucket of the operator's. Each completed
-- video has a row here from the moment it is completed, also while nobody copies: none is forgotten, and those that
-- Kie.ai still has are copied when custody is turned on.
-- Old code keeps working.

CREATE TABLE videos (
    job_id       uuid PRIMARY KEY,
    state        text NOT NULL DEFAULT 'due' CHECK (state IN (
                     'due',        -- to be copied
                     'kept',       -- in the bucket
                     'failed',     -- given up: Kie.ai does not give it, or what it gives is no video
                     'deleting',   -- to be removed from the bucket
                     'deleted')),
    completed_at timestamptz NOT NULL,
    due_at       timestamptz DEFAULT now(),   -- what the state asks for is done then; kept: end of the retention
    attempts     integer NOT NULL DEFAULT 0,  -- also the fence: what an earlier one brings in is not taken
    bytes        bigint,
    sha256       bytea,
    error        text,                        -- why the newest attempt failed
    CHECK ((state IN ('due', 'deleting')) = (due_at IS NOT NULL) OR state = 'kept'),
    CHECK (state <> 'kept' OR (bytes IS NOT NULL AND sha256 IS NOT NULL))
);
CREATE INDEX videos_next ON videos (state, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX videos_waiting ON videos (completed_at) WHERE state = 'due';

-- A trigger, since processes of the release before complete jobs, too, while one is replaced by the other.
CREATE FUNCTION add_video() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO videos (job_id, completed_at) VALUES (NEW.id, NEW.completed_at) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

-- A file that lies in the bucket must not be forgotten: it is deleted before its job's row is.
CREATE FUNCTION refuse_forgotten_video() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the video of job % is in the bucket: delete it first', OLD.job_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'video_in_bucket';
END $$;
CREATE TRIGGER videos_in_bucket BEFORE DELETE ON videos
    FOR EACH ROW WHEN (OLD.state IN ('kept', 'deleting')) EXECUTE FUNCTION refuse_forgotten_video();

-- What Kie.ai may still have, read by the index on (status, id): ids are made in order, and begin with their time.
-- Most of it first, while nobody waits for us: what comes after holds up whoever writes jobs.
CREATE FUNCTION id_of_old_job() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM now() - interval '30 days') * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

INSERT INTO videos (job_id, completed_at)
SELECT id, completed_at FROM video_jobs
 WHERE status = 'completed' AND id > id_of_old_job() AND completed_at > now() - interval '14 days';

-- What is shown of a video; all null: it is where Kie.ai put it, until Kie.ai deletes it.
ALTER TABLE video_jobs
    ADD COLUMN video_link       text,          -- our own address of it, which outlives Kie.ai's
    ADD COLUMN video_kept_at    timestamptz,   -- it is in the bucket since
    ADD COLUMN video_expires_at timestamptz,   -- end of our own retention; null: none
    ADD COLUMN video_deleted_at timestamptz;   -- by request, or at the end of the retention: not given any more
ALTER TABLE videos ADD FOREIGN KEY (job_id) REFERENCES video_jobs ON DELETE CASCADE;
CREATE TRIGGER video_jobs_video AFTER UPDATE OF status ON video_jobs
    FOR EACH ROW WHEN (NEW.status = 'completed' AND OLD.status <> 'completed') EXECUTE FUNCTION add_video();

-- And what was completed meanwhile.
INSERT INTO videos (job_id, completed_at)
SELECT id, completed_at FROM video_jobs
 WHERE status = 'completed' AND id > id_of_old_job() AND completed_at > now() - interval '14 days'
ON CONFLICT DO NOTHING;

DROP FUNCTION id_of_old_job();
