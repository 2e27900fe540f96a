-- Why: a vendor that gives no usable answers at all stops the sends too, an operator can stop them
-- by hand, and the running audit of the ledger reads only what is new.
-- Old code keeps working.

-- Sends in a row that ended without a usable answer.
ALTER TABLE breaker ADD COLUMN strikes integer NOT NULL DEFAULT 0;
-- Set by `reelgate pause` and only by it; `reelgate resume` ends it.
ALTER TABLE breaker ADD COLUMN paused_at timestamptz, ADD COLUMN pause_reason text;

-- Up to where a wallet's ledger was added up by the running audit.
CREATE TABLE wallet_checkpoints (
    wallet_address text PRIMARY KEY REFERENCES credits,
    upto           uuid NOT NULL,     -- the newest entry that `total` holds
    total          bigint NOT NULL
) WITH (fillfactor = 80);
