-- Why: the head of the queue is read by its index, however long the queue is. Statistics are of an earlier moment,
-- mostly of an empty queue; by them a planner takes all that waits, sorts it, and does so for each claim.
-- Old code keeps working.

CREATE FUNCTION fairest_due(most integer) RETURNS SETOF video_jobs LANGUAGE plpgsql SET enable_sort = off AS $$
BEGIN
    RETURN QUERY
    SELECT * FROM video_jobs
     WHERE status = 'pending' AND next_attempt_at <= now() AND expires_at > now()
     ORDER BY turn, id
     LIMIT most
       FOR UPDATE SKIP LOCKED;
END $$;

-- Not min(turn), which would be found without a sort, but by reading them all.
CREATE FUNCTION first_turn() RETURNS bigint LANGUAGE plpgsql STABLE SET enable_sort = off AS $$
BEGIN
    RETURN (SELECT turn FROM video_jobs WHERE status = 'pending' ORDER BY turn, id LIMIT 1);
END $$;
