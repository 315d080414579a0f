-- What a review left in the office.

-- How many receipts a seal had when it got another key, until the new device goes on from there.
ALTER TABLE seals ADD COLUMN began BIGINT NOT NULL DEFAULT 0;

-- The key that signed a receipt: two devices of one seal may have used one number.
ALTER TABLE receipts ADD COLUMN signer BYTEA;
UPDATE receipts SET signer = (SELECT device_key FROM seals WHERE seals.name = receipts.seal);

-- Keys that a seal had before, and how far each of them had come: see office/earlier.rs.
CREATE TABLE earlier_keys (
    seal TEXT NOT NULL,
    public BYTEA NOT NULL,
    until_s BIGINT NOT NULL,
    head BIGINT NOT NULL,
    next_sequence BIGINT NOT NULL,
    min_sequence BIGINT NOT NULL,
    receipts BIGINT NOT NULL,
    last_receipt BYTEA NOT NULL,
    counter BIGINT NOT NULL,
    late BIGINT NOT NULL,
    PRIMARY KEY (seal, public)
);

-- Parts of photographs, until all of one are there, each gateway's apart: nobody displaces another's. number is the order
-- in which they came.
CREATE TABLE parts_of_pictures (
    digest BYTEA NOT NULL,
    gateway TEXT NOT NULL,
    start BIGINT NOT NULL,
    total BIGINT NOT NULL,
    number BIGINT NOT NULL,
    part BYTEA NOT NULL,
    PRIMARY KEY (digest, gateway, start)
);
INSERT INTO parts_of_pictures (digest, gateway, start, total, number, part)
    SELECT digest, '', start, total, 0, part FROM picture_parts;
DROP TABLE picture_parts;
ALTER TABLE parts_of_pictures RENAME TO picture_parts;
CREATE INDEX picture_parts_by_number ON picture_parts (number);
CREATE INDEX picture_parts_by_gateway ON picture_parts (gateway, number);

-- Photographs that receipts name and that have not come. is_told when it was said that one is missing.
CREATE TABLE pictures_due (
    digest BYTEA NOT NULL,
    receipt BYTEA NOT NULL,
    seal TEXT NOT NULL,
    number BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    is_told BIGINT NOT NULL,
    PRIMARY KEY (digest, receipt)
);
CREATE INDEX pictures_due_by_time ON pictures_due (is_told, since_ms);
INSERT INTO pictures_due (digest, receipt, seal, number, since_ms, is_told)
    SELECT parts.digest, receipts.digest, seal, receipts.number, received_ms, 0
    FROM receipts JOIN (SELECT DISTINCT digest FROM picture_parts) AS parts
    ON parts.digest = picture_before OR parts.digest = picture_after;

-- Notices are looked for by their seal and time.
CREATE INDEX leaves_by_seal ON leaves (seal, kind, at_ms);
