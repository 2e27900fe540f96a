-- Why: finished jobs can go, by age or because a wallet's owner wants to be forgotten, while the ledger stays whole.
-- Old code keeps working.

-- In the order in which a refund takes them, and all before the first change: else each could wait for the other.
LOCK TABLE video_jobs, credit_transactions, callbacks IN ACCESS EXCLUSIVE MODE;

-- What is paid for stays written down after its job is gone: job_id is then a number that the archive knows.
ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_job_id_fkey;
-- Said twice: the attempt's key leads to the job too. This one has no index, and each removal would read the table.
ALTER TABLE callbacks DROP CONSTRAINT callbacks_job_id_fkey;

-- A job that is under way, or has a refund to come, is never removed, whoever asks for it.
CREATE FUNCTION refuse_early_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % is not over, or its refund is due', OLD.id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'job_removal';
END $$;
CREATE TRIGGER video_jobs_removal BEFORE DELETE ON video_jobs
    FOR EACH ROW WHEN (OLD.completed_at IS NULL OR (OLD.status <> 'completed' AND OLD.refunded_at IS NULL))
    EXECUTE FUNCTION refuse_early_removal();

-- The ledger is still append-only but for one thing: who an entry is about, and what was written beside it, can be
-- made unknown, once. What was booked, when, for which job and under which reference, stays.
CREATE OR REPLACE FUNCTION refuse_ledger_edit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.wallet_address LIKE 'erased:%' AND OLD.wallet_address NOT LIKE 'erased:%'
           AND to_jsonb(NEW) - '{wallet_address,description}'::text[]
             = to_jsonb(OLD) - '{wallet_address,description}'::text[]
           AND (NEW.description IS NULL OR NEW.description = OLD.description)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'credit_transactions is append-only' USING ERRCODE = 'restrict_violation';
END $$;
