-- Why: Kie.ai deletes a video after 14 days at most, so it is copied to a bucket of the operator's. Each completed
-- video has a row here from the moment it is completed, also while nobody copies: none is forgotten, and those that
-- Kie.ai still has are copied when custody is turned on. What was completed before is filled in by the next file.
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

-- What is shown of a video; all null: it is where Kie.ai put it, until Kie.ai deletes it.
ALTER TABLE video_jobs
    ADD COLUMN video_link       text,          -- our own address of it, which outlives Kie.ai's
    ADD COLUMN video_kept_at    timestamptz,   -- it is in the bucket since
    ADD COLUMN video_expires_at timestamptz,   -- end of our own retention; null: none
    ADD COLUMN video_deleted_at timestamptz;   -- by request, or at the end of the retention: not given any more
ALTER TABLE videos ADD FOREIGN KEY (job_id) REFERENCES video_jobs ON DELETE CASCADE;  -- of an empty table: at once
CREATE TRIGGER video_jobs_video AFTER UPDATE OF status ON video_jobs
    FOR EACH ROW WHEN (NEW.status = 'completed' AND OLD.status <> 'completed' AND NEW.hidden_at IS NULL)
    EXECUTE FUNCTION add_video();

-- Deleted under /v1, where the release before only hides the job: its video is not to be copied, or not to stay.
-- Our own code has deleted it by then (custody/deletion.py).
CREATE FUNCTION delete_hidden_video() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE videos
       SET state = CASE WHEN attempts = 0 THEN 'deleted' ELSE 'deleting' END,
           due_at = CASE WHEN attempts > 0 THEN greatest(now(), CASE WHEN state = 'due' THEN due_at END) END
     WHERE job_id = NEW.id AND state NOT IN ('deleting', 'deleted');
    NEW.video_deleted_at := now();
    NEW.video_kept_at := NULL;
    NEW.video_expires_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER video_jobs_hidden BEFORE UPDATE OF hidden_at ON video_jobs
    FOR EACH ROW WHEN (NEW.hidden_at IS NOT NULL AND NEW.status = 'completed' AND NEW.video_deleted_at IS NULL)
    EXECUTE FUNCTION delete_hidden_video();
