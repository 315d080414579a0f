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
