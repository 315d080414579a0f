-- Smart seals. Digests, keys and ids are bytes; times are milliseconds since 1970 UTC unless the name says _s (seconds).

-- What seals have sent, in the order of the log, until the office has looked at it.
CREATE TABLE seal_inbox (
    number BIGINT NOT NULL PRIMARY KEY,
    gateway TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    envelope BYTEA NOT NULL
);

-- Parts of photographs, until all of one are there.
CREATE TABLE picture_parts (
    digest BYTEA NOT NULL,
    start BIGINT NOT NULL,
    total BIGINT NOT NULL,
    part BYTEA NOT NULL,
    PRIMARY KEY (digest, start)
);

-- A seal as the office has it. key and last_receipt are 32 bytes.
CREATE TABLE seals (
    name TEXT NOT NULL PRIMARY KEY,
    area TEXT NOT NULL,
    gateway TEXT NOT NULL,
    device_key BYTEA NOT NULL,
    policy BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    next_sequence BIGINT NOT NULL,
    min_sequence BIGINT NOT NULL,
    cleared BIGINT NOT NULL,
    is_locked BIGINT NOT NULL,
    receipts BIGINT NOT NULL,
    last_receipt BYTEA NOT NULL,
    counter BIGINT NOT NULL,
    tampered BIGINT NOT NULL,
    heard_ms BIGINT NOT NULL
);

-- Everything that is signed and stands in the log, or is about to: grants, receipts, rules, notices. nth is the order in
-- which they came; log_index the number of the leaf.
CREATE TABLE leaves (
    digest BYTEA NOT NULL PRIMARY KEY,
    nth BIGINT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    seal TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    body BYTEA NOT NULL,
    log_index BIGINT UNIQUE
);

-- The rules of a seal, each a leaf.
CREATE TABLE policies (
    seal TEXT NOT NULL,
    number BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (seal, number)
);

-- What is applied for. payload is the grant as approvers sign it; leaf the signed grant when it was given.
-- state is open, granted, rejected, cancelled or revoked.
CREATE TABLE applications (
    grant_id BYTEA NOT NULL PRIMARY KEY,
    seal TEXT NOT NULL,
    state TEXT NOT NULL,
    applicant TEXT NOT NULL,
    title TEXT NOT NULL,
    payload BYTEA NOT NULL,
    needed BIGINT NOT NULL,
    max_uses BIGINT NOT NULL,
    expires_s BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    decided_ms BIGINT,
    decided_by TEXT,
    why TEXT,
    leaf BYTEA,
    used BIGINT NOT NULL,
    revoked_s BIGINT,
    revoked_epoch BIGINT
);
CREATE INDEX applications_by_seal ON applications (seal, created_ms);
CREATE INDEX applications_by_state ON applications (state, created_ms);

CREATE TABLE approvals (
    grant_id BYTEA NOT NULL,
    public BYTEA NOT NULL,
    person TEXT NOT NULL,
    signature BYTEA NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (grant_id, public)
);

-- Receipts as they can be asked for; each is a leaf. picture_before and picture_after are SHA-256 of photographs.
CREATE TABLE receipts (
    digest BYTEA NOT NULL PRIMARY KEY,
    seal TEXT NOT NULL,
    number BIGINT NOT NULL,
    grant_id BYTEA,
    use_number BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    refusal TEXT,
    at_s BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    picture_before BYTEA,
    picture_after BYTEA
);
CREATE INDEX receipts_by_seal ON receipts (seal, number);
CREATE INDEX receipts_by_grant ON receipts (grant_id, use_number);
CREATE INDEX receipts_by_before ON receipts (picture_before);
CREATE INDEX receipts_by_after ON receipts (picture_after);

-- What does not agree. evidence is the digest of what it was found in.
CREATE TABLE findings (
    nth BIGINT NOT NULL PRIMARY KEY,
    seal TEXT NOT NULL,
    word TEXT NOT NULL,
    en TEXT NOT NULL,
    zh TEXT NOT NULL,
    evidence BYTEA NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX findings_by_seal ON findings (seal, nth);

-- Hellos that were heard, for as long as they are fresh: each counts once.
CREATE TABLE hellos (
    digest BYTEA NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);
CREATE INDEX hellos_by_time ON hellos (at_ms);

-- One row, which every transaction of the office writes first: see the office's statements.
CREATE TABLE office_turns (nth BIGINT NOT NULL);
INSERT INTO office_turns (nth) VALUES (0);
