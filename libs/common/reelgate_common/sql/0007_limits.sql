-- Why: what a key and a wallet may ask for is limited across all replicas.
-- Old code keeps working.

-- One row for each key or wallet that asked in the last minute. Unlogged: a crash forgives a minute's
-- requests, and in return the row's lock is never held while the disk is waited for.
CREATE UNLOGGED TABLE rate_limits (
    subject text PRIMARY KEY,          -- key:<id> or wallet:<address>
    full_at timestamptz NOT NULL       -- when all of its requests are free again; the row means nothing after
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

CREATE INDEX video_jobs_queued ON video_jobs (wallet_address) WHERE status = 'pending';

-- VOLATILE, which makes each call look with fresh eyes: called by a statement that waited for the wallet's lock,
-- it sees the jobs of the lock's last holder, which that statement itself does not. plpgsql, since it is not inlined.
CREATE FUNCTION queued_jobs(wallet text, at_most integer) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT count(*) FROM (
        SELECT FROM video_jobs WHERE wallet_address = wallet AND status = 'pending' LIMIT at_most) AS found);
END $$;
