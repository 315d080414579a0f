-- Who approves in whose place, for a time. Times as in 0004: milliseconds, or seconds where the name says _s.

-- What an approver has signed with the key public; leaf is the digest of it. It cannot be changed, only withdrawn.
CREATE TABLE delegations (
    id BYTEA NOT NULL PRIMARY KEY,
    seal TEXT NOT NULL,
    delegator TEXT NOT NULL,
    deputy TEXT NOT NULL,
    public BYTEA NOT NULL,
    from_s BIGINT NOT NULL,
    until_s BIGINT NOT NULL,
    leaf BYTEA NOT NULL,
    given_ms BIGINT NOT NULL,
    withdrawn_s BIGINT,
    withdrawn_epoch BIGINT,
    withdrawn_by TEXT,
    why TEXT
);
CREATE INDEX delegations_by_seal ON delegations (seal, until_s);

-- For whom a deputy has approved; empty where somebody has approved themselves.
ALTER TABLE approvals ADD COLUMN in_place_of TEXT;
