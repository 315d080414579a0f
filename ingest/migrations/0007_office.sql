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
    PRIMARY KEY (seal, public)
);
