-- What decided an alarm. measure is value, rise or agreeing; inputs is a JSON list of readings, each with sensor,
-- quantity (its code), value, quality, at_ms and alarming.
ALTER TABLE alarms ADD COLUMN rule_version TEXT;
ALTER TABLE alarms ADD COLUMN measure TEXT;
ALTER TABLE alarms ADD COLUMN worst DOUBLE PRECISION;
ALTER TABLE alarms ADD COLUMN repeated_ms BIGINT;
ALTER TABLE alarms ADD COLUMN inputs TEXT;
