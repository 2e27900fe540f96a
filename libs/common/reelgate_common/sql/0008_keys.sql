-- Why: keys are looked after over HTTP, and people sign in with the key of their wallet.
-- Old code keeps working.

ALTER TABLE api_keys
    ADD COLUMN prefix text,                              -- its first characters; NULL: made by code from before
    ADD COLUMN is_test boolean NOT NULL DEFAULT false,   -- a label, visible as rg_test_
    ADD CONSTRAINT api_keys_scopes CHECK (scopes <> '{}' AND scopes <@ '{read,jobs,admin}');

-- Who signed in with a wallet. Ending a session deletes its row.
CREATE TABLE sessions (
    token_hash     bytea PRIMARY KEY,   -- SHA-256; the token itself has 256 random bits
    wallet_address text NOT NULL,       -- as its checksum spells it
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Nonces for signing in. Anybody may ask for one, so they live in a ring: a new one takes the place of the oldest.
-- Unlogged: a crash costs those who are signing just then another try.
CREATE SEQUENCE sign_in_nonce_slots AS integer MINVALUE 0 MAXVALUE 99999 START 0 CYCLE;
CREATE UNLOGGED TABLE sign_in_nonces (
    slot       integer PRIMARY KEY DEFAULT nextval('sign_in_nonce_slots'),
    nonce      text NOT NULL UNIQUE,
    expires_at timestamptz NOT NULL
);
