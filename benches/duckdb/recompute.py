#!/usr/bin/env python3
"""Recomputes every window aggregate from the raw readings, with another engine, and compares.

    python -m venv venv && venv/bin/pip install duckdb
    venv/bin/python benches/duckdb/recompute.py watchfire-data/ingest/pool
    venv/bin/python benches/duckdb/recompute.py --self-test watchfire-data/ingest/pool

Reads only the Parquet files. Nothing here is taken from ingest's code: cells are geohashes of the stored
coordinates in exact integer arithmetic, sums are exact decimals, buckets are those of the DDSketch paper.
Exits 0 when every window agrees, 1 when any differs, 2 when there is nothing to compare. With --self-test one
window is perturbed per aggregate column, and each perturbation must be noticed. A large pool takes memory: --before
leaves out windows that begin later, --one-in takes one in so many cells of precision 5, with all cells in them.
Windows follow their readings to Parquet by up to two minutes, so ingest must have stopped in order: one that was killed
is started and stopped first.
"""

import argparse
import math
import sys
from pathlib import Path

import duckdb

ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"
PRECISIONS = (5, 6, 7)
MINUTE_MS = 60_000
# DDSketch with 1 %: bucket i holds (gamma^(i-1), gamma^i]; keys are shifted to keep signs apart, 0 is zero.
ALPHA = 0.01
LN_GAMMA = math.log((1 + ALPHA) / (1 - ALPHA))
KEY_OFFSET = 2000
SMALLEST = 1e-9
SHOWN = 10


def geohash(lat_e7, lon_e7, precision):
    """Bisection of the world, longitude first, in integers: no rounding anywhere."""
    bits = 5 * precision
    lon_bits, lat_bits = (bits + 1) // 2, bits // 2
    column = min(((lon_e7 + 1_800_000_000) << lon_bits) // 3_600_000_000, (1 << lon_bits) - 1)
    row = min(((lat_e7 + 900_000_000) << lat_bits) // 1_800_000_000, (1 << lat_bits) - 1)
    number = 0
    for place in range(bits):
        if place % 2 == 0:
            lon_bits -= 1
            number = number << 1 | (column >> lon_bits & 1)
        else:
            lat_bits -= 1
            number = number << 1 | (row >> lat_bits & 1)
    return "".join(ALPHABET[number >> 5 * (precision - 1 - i) & 31] for i in range(precision))


def bucket(value):
    magnitude = abs(value)
    if magnitude < SMALLEST:
        return 0
    key = math.ceil(math.log(magnitude) / LN_GAMMA) + KEY_OFFSET
    return -key if value < 0 else key


def load(db, pool, before_ms, one_in):
    readings = sorted(str(p) for p in (pool / "readings").rglob("*.parquet"))
    windows = sorted(str(p) for p in (pool / "windows").rglob("*.parquet"))
    if not readings or not windows:
        sys.exit(f"{pool}: {len(readings)} readings files and {len(windows)} windows files: nothing to compare")
    places = db.execute("SELECT DISTINCT lat_e7, lon_e7 FROM read_parquet($1, hive_partitioning = false)", [readings]).fetchall()
    picked = set(sorted({geohash(*place, PRECISIONS[0]) for place in places})[::one_in])
    db.execute("CREATE TABLE picked (lat_e7 INT, lon_e7 INT)")
    insert(db, "picked", [place for place in places if geohash(*place, PRECISIONS[0]) in picked])
    db.execute("CREATE TABLE picked_cells (cell TEXT)")
    insert(db, "picked_cells", [(cell,) for cell in picked])
    # Usable readings with a known time: quality good (0) or suspect (1), clock not unset (0).
    db.execute(
        """CREATE TABLE readings AS
           SELECT quantity, sensor_no, epoch_ms(at_ms) AS at_ms, value, lat_e7, lon_e7
           FROM read_parquet($1, hive_partitioning = false) SEMI JOIN picked USING (lat_e7, lon_e7)
           WHERE quality IN (0, 1) AND clock <> 0 AND value IS NOT NULL AND epoch_ms(at_ms) < $2""",
        [readings, before_ms],
    )
    db.execute(
        """CREATE TABLE partials AS
           SELECT quantity, precision, cell, epoch_ms(start_ms) AS start_ms, length_ms, count, sum, min, max,
                  epoch_ms(first_ms) AS first_ms, first_sensor, first, epoch_ms(last_ms) AS last_ms, last_sensor,
                  last, sensors, buckets, bucket_counts
           FROM read_parquet($1, hive_partitioning = false)
           WHERE left(cell, $2) IN (FROM picked_cells) AND epoch_ms(start_ms) < $3""",
        [windows, PRECISIONS[0], before_ms],
    )
    rows = db.execute("SELECT count(*) FROM read_parquet($1, hive_partitioning = false)", [readings]).fetchone()[0]
    print(f"{len(readings)} readings files with {rows} rows, {len(windows)} windows files; compared are "
          f"{db.execute('SELECT count(*) FROM readings').fetchone()[0]} usable readings and {db.execute('SELECT count(*) FROM partials').fetchone()[0]} partials")


def recompute(db):
    """Every window from raw rows: table `expected`, and its sensors and buckets."""
    places = db.execute("SELECT DISTINCT lat_e7, lon_e7 FROM readings").fetchall()
    cells = [(lat, lon, p, geohash(lat, lon, p)) for lat, lon in places for p in PRECISIONS]
    db.execute("CREATE TABLE cells (lat_e7 INT, lon_e7 INT, precision INT, cell TEXT)")
    insert(db, "cells", cells)
    values = db.execute("SELECT DISTINCT value FROM readings").fetchall()
    db.execute("CREATE TABLE bucket_of (value DOUBLE, bucket INT)")
    insert(db, "bucket_of", [(v, bucket(v)) for (v,) in values])
    db.execute(
        f"""CREATE TABLE raw AS
            SELECT r.quantity, c.precision, c.cell, r.at_ms - r.at_ms % {MINUTE_MS} AS start_ms,
                   r.at_ms, r.sensor_no, r.value, b.bucket,
                   CAST(round(r.value * 1e6) AS HUGEINT) AS micro
            FROM readings r JOIN cells c USING (lat_e7, lon_e7) JOIN bucket_of b USING (value)"""
    )
    db.execute(
        """CREATE TABLE expected AS
           SELECT quantity, precision, cell, start_ms, count(*) AS count, sum(micro) AS micro,
                  min(value) AS min, max(value) AS max,
                  min({'ms': at_ms, 'sensor': sensor_no, 'value': value}) AS first,
                  max({'ms': at_ms, 'sensor': sensor_no, 'value': value}) AS last,
                  list_sort(list(DISTINCT sensor_no)) AS sensors
           FROM raw GROUP BY ALL"""
    )
    db.execute(
        """CREATE TABLE expected_buckets AS
           SELECT quantity, precision, cell, start_ms, bucket, count(*) AS n FROM raw GROUP BY ALL"""
    )


def insert(db, table, rows):
    """Rows in blocks: executemany sends them one by one."""
    if not rows:
        return
    for start in range(0, len(rows), 2000):
        block = rows[start:start + 2000]
        marks = "(" + ", ".join("?" * len(block[0])) + ")"
        db.execute(f"INSERT INTO {table} VALUES " + ", ".join([marks] * len(block)), [v for row in block for v in row])


FOLD = f"""
CREATE OR REPLACE TABLE folded AS
SELECT quantity, precision, cell, start_ms, sum(count) AS count,
       sum(CAST(replace(CAST(sum AS VARCHAR), '.', '') AS HUGEINT)) AS micro,
       min(min) AS min, max(max) AS max,
       min({{'ms': first_ms, 'sensor': first_sensor, 'value': first}}) AS first,
       max({{'ms': last_ms, 'sensor': last_sensor, 'value': last}}) AS last,
       list_sort(list_distinct(flatten(list(sensors)))) AS sensors,
       bool_and(length_ms = {MINUTE_MS}) AS minute
FROM partials GROUP BY ALL;
CREATE OR REPLACE TABLE folded_buckets AS
SELECT quantity, precision, cell, start_ms, bucket, sum(n) AS n
FROM (SELECT quantity, precision, cell, start_ms, unnest(buckets) AS bucket, unnest(bucket_counts) AS n FROM partials)
GROUP BY ALL;
"""

KEY = "quantity, precision, cell, start_ms"


def compare(db, show=True):
    """Folds the partials and counts windows compared and windows that differ."""
    db.execute(FOLD)
    db.execute(
        f"""CREATE OR REPLACE TABLE differences AS
            SELECT {KEY}, list_filter([
                CASE WHEN e.count IS NULL THEN 'no readings behind it' END,
                CASE WHEN f.count IS NULL THEN 'missing' END,
                CASE WHEN e.count <> f.count THEN 'count' END,
                CASE WHEN e.micro <> f.micro THEN 'sum' END,
                CASE WHEN e.min <> f.min THEN 'min' END,
                CASE WHEN e.max <> f.max THEN 'max' END,
                CASE WHEN e.first <> f.first THEN 'first' END,
                CASE WHEN e.last <> f.last THEN 'last' END,
                CASE WHEN e.sensors <> f.sensors THEN 'sensors' END,
                CASE WHEN NOT f.minute THEN 'length' END,
                CASE WHEN b.off THEN 'sketch' END], lambda x: x IS NOT NULL) AS wrong, e, f
            FROM expected e FULL JOIN folded f USING ({KEY})
            LEFT JOIN (SELECT {KEY}, true AS off
                       FROM expected_buckets e FULL JOIN folded_buckets f USING ({KEY}, bucket)
                       WHERE e.n IS DISTINCT FROM f.n GROUP BY ALL) b USING ({KEY})
            WHERE len(wrong) > 0"""
    )
    compared = db.execute("SELECT count(*) FROM expected").fetchone()[0]
    differing = db.execute("SELECT count(*) FROM differences").fetchone()[0]
    if show:
        for row in db.execute(f"SELECT {KEY}, wrong, e, f FROM differences LIMIT {SHOWN}").fetchall():
            print("differs:", *row[:4], "in", ", ".join(row[4]), "\n  expected", row[5], "\n  stored  ", row[6])
    return compared, differing


# Each perturbs one window in one column. The offset is far below what a person would notice.
PERTURBATIONS = {
    "count": "count = count + 1",
    "sum": "sum = sum + 0.000001",
    "min": "min = min - 1e-9",
    "max": "max = max + 1e-9",
    "first": "first = first + 1e-9, first_ms = first_ms - 1",
    "last": "last = last + 1e-9, last_ms = last_ms + 1",
    "sensors": "sensors = list_append(sensors, 999999999)",
    "bucket": "buckets = list_transform(buckets, lambda x: x + 1)",
    "bucket count": "bucket_counts = list_transform(bucket_counts, lambda x: x + 1)",
    "cell": "cell = cell || '0'",
    "start": f"start_ms = start_ms + {MINUTE_MS * 100_000}",
}


def self_test(db):
    """Perturbs one value at a time; every perturbation must give a difference."""
    unnoticed = []
    for name, change in PERTURBATIONS.items():
        db.execute("BEGIN")
        # All partials of one window: a minimum of one partial need not be the window's.
        db.execute(f"UPDATE partials SET {change} WHERE ({KEY}) = (SELECT ({KEY}) FROM partials ORDER BY rowid LIMIT 1)")
        if compare(db, show=False)[1] == 0:
            unnoticed.append(name)
        db.execute("ROLLBACK")
    db.execute("BEGIN")
    db.execute("DELETE FROM partials WHERE rowid = (SELECT min(rowid) FROM partials)")
    if compare(db, show=False)[1] == 0:
        unnoticed.append("a partial removed")
    db.execute("ROLLBACK")
    return unnoticed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path, help="folder with readings/ and windows/")
    parser.add_argument("--self-test", action="store_true", help="perturb stored values and expect to notice")
    parser.add_argument("--before", type=int, default=1 << 60, metavar="MS",
                        help="only windows that begin before this time, in milliseconds since 1970")
    parser.add_argument("--one-in", type=int, default=1, help="only one in so many cells of precision 5")
    arguments = parser.parse_args()
    before_ms = arguments.before - arguments.before % MINUTE_MS
    db = duckdb.connect()
    load(db, arguments.pool, before_ms, arguments.one_in)
    recompute(db)
    compared, differing = compare(db)
    late = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM partials GROUP BY quantity, precision, cell, start_ms HAVING count(*) > 1)"
    ).fetchone()[0]
    print(f"windows compared: {compared} (folded from more than one partial: {late}); differences: {differing}")
    if compared == 0:
        sys.exit(2)
    if arguments.self_test:
        unnoticed = self_test(db)
        print(f"perturbations: {len(PERTURBATIONS) + 1}, unnoticed: {unnoticed or 'none'}")
        if unnoticed:
            sys.exit(1)
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
