-- Why: customers hear of their jobs by signed webhooks. A delivery is written in the transaction that makes its
-- event true, so no webhook can be lost on the way to it.
-- Old code keeps working.

-- Where a key's webhooks go. The secrets are stored readable, because each request is signed with them.
CREATE TABLE webhook_endpoints (
    id              uuid PRIMARY KEY,
    key_id          uuid NOT NULL REFERENCES api_keys,
    url             text,              -- NULL: signs and logs what goes to the webhook_url of the key's jobs
    description     text,
    events          text[],            -- NULL: all
    secret          text NOT NULL,
    previous_secret text,              -- replaced by a rotation, still signed with until:
    previous_until  timestamptz,
    failing_since   timestamptz,       -- the first failure since the last success
    disabled_at     timestamptz,       -- deliveries wait meanwhile
    disabled_reason text,
    deleted_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    -- One bad webhook_url shall not silence the key's others.
    CHECK (url IS NOT NULL OR (events IS NULL AND disabled_at IS NULL AND deleted_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX webhook_endpoints_key ON webhook_endpoints (key_id, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX webhook_endpoints_one_for_jobs ON webhook_endpoints (key_id) WHERE url IS NULL;

-- One event for one endpoint; the id is the header `webhook-id` of every attempt.
CREATE TABLE webhook_deliveries (
    id              uuid PRIMARY KEY,
    endpoint_id     uuid NOT NULL REFERENCES webhook_endpoints,
    event_id        uuid NOT NULL,
    type            text NOT NULL,
    job_id          uuid REFERENCES video_jobs ON DELETE CASCADE,   -- NULL: not about a job
    job_version     integer,
    url             text,                  -- the job's own; NULL: the endpoint's, as it stands when it is sent
    body            text NOT NULL,         -- as it is sent: a signature covers bytes
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,   -- ever
    tries           integer NOT NULL DEFAULT 0,   -- since it was made or replayed: the place in the schedule
    next_attempt_at timestamptz DEFAULT now(),
    last_status     integer,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (endpoint_id, event_id),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (endpoint_id, created_at, id);
CREATE INDEX webhook_deliveries_job ON webhook_deliveries (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX webhook_deliveries_created ON webhook_deliveries (created_at);

-- What was tried and what came back.
CREATE TABLE webhook_attempts (
    delivery_id  uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    n            integer NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    milliseconds integer NOT NULL,
    status       integer,        -- NULL: no answer
    error        text,           -- NULL: delivered
    answer       text,           -- the beginning of the answer's body
    PRIMARY KEY (delivery_id, n)
);

-- A job's own receiver, and the key whose secret signs for it.
ALTER TABLE video_jobs ADD COLUMN webhook_url text, ADD COLUMN webhook_key_id uuid,
    ADD CHECK (webhook_url IS NULL OR webhook_key_id IS NOT NULL) NOT VALID;
