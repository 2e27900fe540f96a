-- Why: what happens to a job later, in whatever process, is told in the trace of the request that made it.
-- Old code keeps working.

ALTER TABLE video_jobs ADD COLUMN traceparent text;  -- W3C; NULL: a job from before this, or made by older code
