-- People. Accounts are disabled, never deleted: other records name them. password is a PHC string (argon2id).
CREATE TABLE accounts (
    name TEXT NOT NULL PRIMARY KEY,
    shown TEXT NOT NULL,
    state TEXT NOT NULL,
    password TEXT NOT NULL,
    choose_until_ms BIGINT,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL
);

-- area is * for the whole city.
CREATE TABLE roles (
    account TEXT NOT NULL REFERENCES accounts (name),
    role TEXT NOT NULL,
    area TEXT NOT NULL,
    PRIMARY KEY (account, role, area)
);

-- A key belongs to one person for ever: k of n approvers are k people.
CREATE TABLE person_keys (
    public BYTEA NOT NULL PRIMARY KEY,
    algorithm BIGINT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts (name),
    label TEXT NOT NULL,
    added_ms BIGINT NOT NULL,
    retired_ms BIGINT
);
CREATE INDEX person_keys_by_account ON person_keys (account);

-- digest is the SHA-256 of the token, which only the browser has.
CREATE TABLE sessions (
    digest BYTEA NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name),
    created_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account, created_ms);
