-- Operational records. Plain SQL that SQLite and PostgreSQL both take; times are milliseconds since 1970 UTC.
CREATE TABLE gateways (
    id TEXT NOT NULL PRIMARY KEY,
    area TEXT NOT NULL,
    board TEXT,
    version TEXT,
    lat DOUBLE PRECISION,
    lon DOUBLE PRECISION,
    first_heard_ms BIGINT NOT NULL,
    last_heard_ms BIGINT NOT NULL
);

-- number is the sensor_no of the Parquet files.
CREATE TABLE sensors (
    number BIGINT NOT NULL PRIMARY KEY,
    gateway TEXT NOT NULL,
    sensor TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    label TEXT NOT NULL,
    chip TEXT NOT NULL,
    lat DOUBLE PRECISION NOT NULL,
    lon DOUBLE PRECISION NOT NULL,
    area TEXT NOT NULL
);
CREATE INDEX sensors_by_gateway ON sensors (gateway, sensor);

CREATE TABLE alarms (
    gateway TEXT NOT NULL,
    episode TEXT NOT NULL,
    rule TEXT NOT NULL,
    level TEXT NOT NULL,
    state TEXT NOT NULL,
    sensor TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    raised_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    cleared_ms BIGINT,
    value DOUBLE PRECISION,
    threshold DOUBLE PRECISION NOT NULL,
    lat DOUBLE PRECISION NOT NULL,
    lon DOUBLE PRECISION NOT NULL,
    area TEXT NOT NULL,
    PRIMARY KEY (gateway, episode)
);
CREATE INDEX alarms_by_state ON alarms (state, last_ms);

-- BYTEA is PostgreSQL's word; SQLite keeps bytes as bytes in a column of any name.
CREATE TABLE quarantine (
    id BIGINT NOT NULL PRIMARY KEY,
    received_ms BIGINT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    state TEXT NOT NULL,
    body BYTEA NOT NULL,
    memo BYTEA NOT NULL
);
