-- Passkeys, the second factor of logging in. credential is what the library keeps of one, as JSON: nothing secret.
CREATE TABLE passkeys (
    id BYTEA NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name),
    label TEXT NOT NULL,
    credential TEXT NOT NULL,
    added_ms BIGINT NOT NULL,
    used_ms BIGINT
);
CREATE INDEX passkeys_by_account ON passkeys (account);

-- When a passkey was shown in this session; null when it came by password alone.
ALTER TABLE sessions ADD COLUMN passkey_ms BIGINT;
