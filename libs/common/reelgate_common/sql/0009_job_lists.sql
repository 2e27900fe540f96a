-- Why: jobs are listed by wallet, state and the caller's own reference, in order and without a sort.
-- What old code looked up in the indexes that go, it finds in those that come.
-- Old code keeps working.

-- Each has the id last, so a page is read where the one before ended; all but the third replace one, since each job
-- writes them several times over.
CREATE INDEX video_jobs_wallet_status ON video_jobs (wallet_address, status, id);   -- and a wallet's queue
DROP INDEX video_jobs_queued;
CREATE INDEX video_jobs_status ON video_jobs (status, id);   -- and what is at Kie.ai; the newest videos
DROP INDEX video_jobs_in_flight;
CREATE INDEX video_jobs_reference ON video_jobs (client_reference_id, wallet_address, id)
    WHERE client_reference_id IS NOT NULL;
