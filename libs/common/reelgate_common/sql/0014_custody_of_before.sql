-- Why: videos that were completed before there was custody are copied, too, as long as Kie.ai has them. A file of its
-- own, since this one reads a month of jobs: beside those who write them.
-- Old code keeps working.

-- Read by the index on (status, id): ids are made in order, and begin with their time.
CREATE FUNCTION id_of_old_job() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM now() - interval '30 days') * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- What was deleted under /v1 is deleted.
UPDATE video_jobs SET video_deleted_at = hidden_at
 WHERE status = 'completed' AND id > id_of_old_job() AND hidden_at IS NOT NULL AND video_deleted_at IS NULL;

INSERT INTO videos (job_id, completed_at)
SELECT id, completed_at FROM video_jobs
 WHERE status = 'completed' AND id > id_of_old_job() AND completed_at > now() - interval '14 days'
   AND hidden_at IS NULL
ON CONFLICT DO NOTHING;

DROP FUNCTION id_of_old_job();
