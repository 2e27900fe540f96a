-- Why: the whole schema of the main job. Constraints here carry the promises, so that a bug in
-- a service is refused by the database instead of costing somebody money.

-- Wallets and their money -------------------------------------------------------------------

CREATE TABLE credits (
    wallet_address text PRIMARY KEY CHECK (length(wallet_address) BETWEEN 1 AND 128),
    credits        bigint NOT NULL DEFAULT 0 CHECK (credits >= 0),
    -- Fair queueing between wallets: the round in which this wallet's latest job is sent.
    last_turn      bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70); -- room for HOT updates: the balance changes with every job

-- Jobs ----------------------------------------------------------------------------------------

CREATE TABLE video_jobs (
    id                  uuid PRIMARY KEY,
    -- status stands near the top for whoever reads the table by hand
    status              text NOT NULL DEFAULT 'pending' CHECK (status IN (
                            'pending', 'submitting', 'unknown', 'processing',
                            'completed', 'failed', 'canceled')),
    version             integer NOT NULL DEFAULT 1,   -- number of the newest job_events row
    wallet_address      text NOT NULL REFERENCES credits,
    -- what was asked for
    prompt              text NOT NULL,
    image_urls          jsonb NOT NULL DEFAULT '[]',
    aspect_ratio        text NOT NULL,
    model               text NOT NULL,
    generation_type     text NOT NULL,
    resolution          text NOT NULL,
    duration            integer NOT NULL,
    watermark           text,
    metadata            jsonb,
    client_reference_id text,
    cost                bigint NOT NULL CHECK (cost > 0),   -- credits charged at acceptance
    turn                bigint NOT NULL,                    -- fair queueing: lower is sent first
    -- when things happened
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,   -- first time a submitter took it
    completed_at        timestamptz,   -- when it became final
    expires_at          timestamptz NOT NULL,   -- a pending job fails after this
    -- when things are due
    next_attempt_at     timestamptz,   -- pending: not sent before this
    republish_after     timestamptz,   -- pending: its permit counts as lost after this
    republishes         integer NOT NULL DEFAULT 0,
    deadline_at         timestamptz,   -- the reconciler ends the present state after this
    next_check_at       timestamptz,   -- record-info is asked after this
    last_checked_at     timestamptz,
    cancel_requested_at timestamptz,
    -- the attempt that counts, and how it ended
    attempt_id          uuid,
    task_id             text,
    video_url           text,
    failure_code        text,
    error_message       text,
    refunded_at         timestamptz,
    recovered_at        timestamptz,

    CHECK ((status = 'completed') = (video_url IS NOT NULL)),
    CHECK ((status IN ('failed', 'canceled')) = (failure_code IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed', 'canceled')) = (completed_at IS NOT NULL)),
    CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed', 'canceled')) = (deadline_at IS NULL)),
    CHECK (refunded_at IS NULL OR status IN ('failed', 'canceled') OR recovered_at IS NOT NULL),
    CHECK (recovered_at IS NULL OR status = 'completed')
) WITH (fillfactor = 80);

-- Every periodic query has its partial index, so none grows with history.
CREATE INDEX video_jobs_queue ON video_jobs (turn, id) WHERE status = 'pending';
CREATE INDEX video_jobs_republish ON video_jobs (republish_after) WHERE status = 'pending';
CREATE INDEX video_jobs_deadline ON video_jobs (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX video_jobs_check ON video_jobs (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX video_jobs_refund_due ON video_jobs (completed_at)
    WHERE status IN ('failed', 'canceled') AND refunded_at IS NULL;
CREATE INDEX video_jobs_wallet ON video_jobs (wallet_address, id DESC);

-- Who may follow whom. The same table stands in reelgate_common.domain.job; a test walks every
-- pair through both.
CREATE FUNCTION refuse_illegal_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) IN (
        ('pending', 'submitting'), ('pending', 'processing'), ('pending', 'failed'), ('pending', 'canceled'),
        ('submitting', 'pending'), ('submitting', 'processing'), ('submitting', 'unknown'),
        ('submitting', 'failed'),
        ('unknown', 'processing'), ('unknown', 'pending'), ('unknown', 'failed'),
        ('processing', 'completed'), ('processing', 'failed')
    ) OR (OLD.status = 'failed' AND NEW.status = 'completed' AND NEW.recovered_at IS NOT NULL) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a job may not go from % to %', OLD.status, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'job_transition';
END $$;

CREATE TRIGGER video_jobs_transition BEFORE UPDATE OF status ON video_jobs
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION refuse_illegal_transition();

-- The timeline: one row for everything that happened to a job, written with the change itself.
CREATE TABLE job_events (
    job_id  uuid NOT NULL REFERENCES video_jobs ON DELETE CASCADE,
    seq     integer NOT NULL,              -- the job's version after the change
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    event   text NOT NULL,
    status  text NOT NULL,                 -- after the change
    service text NOT NULL,                 -- who decided
    attempt integer,
    reason  text,
    PRIMARY KEY (job_id, seq)
);

-- Attempts: one row per call to Kie.ai, committed before the call -----------------------------

CREATE TABLE job_attempts (
    id             uuid PRIMARY KEY,
    job_id         uuid NOT NULL REFERENCES video_jobs ON DELETE CASCADE,
    n              integer NOT NULL,
    operation      text NOT NULL DEFAULT 'generate',
    token_hash     bytea NOT NULL,   -- SHA-256 of the random token in its callback URL
    started_at     timestamptz NOT NULL DEFAULT now(),
    outcome        text CHECK (outcome IN ('accepted', 'refused', 'throttled', 'blocked', 'not_sent', 'unknown')),
    outcome_at     timestamptz,
    vendor_code    integer,
    vendor_message text,
    task_id        text,
    hinted_task_id text,             -- named by a callback with the right token, not verified yet
    empty_since    timestamptz,      -- first time the task was successful without a usable URL
    verdict        text CHECK (verdict IN ('delivered', 'failed')),
    superseded_at  timestamptz,      -- given up by policy, or a sure failure that proved wrong
    UNIQUE (job_id, n),
    CHECK ((outcome IS NOT DISTINCT FROM 'accepted') = (task_id IS NOT NULL)),
    CHECK ((outcome IS NULL) = (outcome_at IS NULL))
);
CREATE UNIQUE INDEX job_attempts_task ON job_attempts (operation, task_id) WHERE task_id IS NOT NULL;
-- Sent once: a job has at most one attempt that is, or may be, at Kie.ai.
CREATE UNIQUE INDEX job_attempts_one_live ON job_attempts (job_id)
    WHERE superseded_at IS NULL AND (outcome IS NULL OR outcome IN ('accepted', 'unknown'));

-- The ledger ------------------------------------------------------------------------------------

CREATE TABLE credit_transactions (
    id               uuid PRIMARY KEY,
    wallet_address   text NOT NULL REFERENCES credits,
    job_id           uuid REFERENCES video_jobs,
    transaction_type text NOT NULL,
    amount           bigint NOT NULL,   -- signed credits: what the balance gained
    description      text,
    reference        text UNIQUE,       -- makes grants and adjustments repeatable
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (job_id, transaction_type),
    CHECK (CASE transaction_type
        WHEN 'charge'     THEN amount < 0 AND job_id IS NOT NULL
        WHEN 'refund'     THEN amount > 0 AND job_id IS NOT NULL
        WHEN 'recharge'   THEN amount < 0 AND job_id IS NOT NULL
        WHEN 'signup'     THEN amount > 0 AND job_id IS NULL
        WHEN 'grant'      THEN amount > 0 AND job_id IS NULL
        WHEN 'adjustment' THEN amount <> 0 AND job_id IS NULL
        ELSE false END)
);
CREATE UNIQUE INDEX credit_transactions_one_signup ON credit_transactions (wallet_address)
    WHERE transaction_type = 'signup';
CREATE INDEX credit_transactions_wallet ON credit_transactions (wallet_address, id DESC);

CREATE FUNCTION refuse_ledger_edit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'credit_transactions is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER credit_transactions_append_only BEFORE UPDATE OR DELETE ON credit_transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_edit();
CREATE TRIGGER credit_transactions_no_truncate BEFORE TRUNCATE ON credit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_edit();

-- A refund needs a charge of the same size and a job that did not deliver.
CREATE FUNCTION refuse_wrong_refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM video_jobs j
       JOIN credit_transactions c ON c.job_id = j.id AND c.transaction_type = 'charge'
      WHERE j.id = NEW.job_id AND j.status IN ('failed', 'canceled')
        AND c.amount = -NEW.amount AND c.wallet_address = NEW.wallet_address;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'job % has nothing to refund', NEW.job_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refund_of_undelivered';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER credit_transactions_refund BEFORE INSERT ON credit_transactions
    FOR EACH ROW WHEN (NEW.transaction_type = 'refund') EXECUTE FUNCTION refuse_wrong_refund();

-- Messages out: a row exists exactly as long as its message is not confirmed --------------------

CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     uuid NOT NULL UNIQUE,
    routing_key  text NOT NULL,
    job_id       uuid NOT NULL,
    payload      jsonb NOT NULL,
    headers      jsonb NOT NULL DEFAULT '{}',
    available_at timestamptz NOT NULL DEFAULT now(),
    attempts     integer NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_due ON outbox (available_at, id);
CREATE INDEX outbox_job ON outbox (job_id);

-- What Kie.ai's webhook told us, kept for 14 days -----------------------------------------------

CREATE TABLE callbacks (
    id          uuid PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    task_id     text NOT NULL,
    job_id      uuid NOT NULL REFERENCES video_jobs ON DELETE CASCADE,
    attempt_id  uuid NOT NULL REFERENCES job_attempts ON DELETE CASCADE,
    token_ok    boolean NOT NULL,
    body_hash   bytea NOT NULL,
    body        text NOT NULL,
    -- The vendor repeats itself; a repeat is acknowledged and not stored twice.
    UNIQUE (attempt_id, task_id, body_hash)
);
CREATE INDEX callbacks_received ON callbacks (received_at);

-- Who may call, and what was already asked ------------------------------------------------------

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    key_hash     bytea NOT NULL UNIQUE,   -- SHA-256; the key itself has 256 random bits
    scopes       text[] NOT NULL,
    wallets      text[],                  -- NULL: every wallet
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE idempotency_keys (
    owner        text NOT NULL,   -- the API key, or the wallet when no key is asked for
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    job_id       uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- What all submitters share ---------------------------------------------------------------------

-- The vendor's window: one row per allowed send; a row may be used again a window after its last use.
CREATE TABLE send_slots (
    n       integer PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 50);
CREATE INDEX send_slots_used ON send_slots (used_at);

-- One row: vendor trouble that hits every job stops all sends until a probe succeeds.
CREATE TABLE breaker (
    id         boolean PRIMARY KEY DEFAULT true CHECK (id),
    failures   integer NOT NULL DEFAULT 0,   -- 0: closed
    open_until timestamptz NOT NULL DEFAULT 'epoch',
    probing    boolean NOT NULL DEFAULT false,   -- one send is under way to see whether the trouble is over
    reason     text,
    opened_at  timestamptz
);
INSERT INTO breaker DEFAULT VALUES;
