"""Stores that live inside a process: this file is that process.

  embedded.py STORE FOLDER READINGS FRAMES MOST [OPTION]...

It cuts the readings of the folder READINGS into groups of so many FRAMES, at most MOST readings of them, opens STORE in
FOLDER, says `ready`, and then obeys a line of standard input at a time: `take SECONDS` stores groups, each acknowledged
before the next, and says how many readings in how many seconds; `again` stores the first group once more; `count` says
how many readings there are; `held` lets it write what it has put off and says how many bytes it counts as its own on
disk, 0 for all of the folder; `close`.
"""

import os
import sqlite3
import sys
import time

from readings import groups

COLUMNS = "device, quantity, quality, cell, at_ms, value"
# What ingest keeps of a window, as far as SQL has it in one word.
PARTIAL = "count(value), sum(value), min(value), max(value)"
MINUTE_MS = 60_000


class DuckDB:
    def __init__(self, folder, options):
        import duckdb

        self.base = duckdb.connect(os.path.join(folder, "base"))
        self.windows, self.unique = "windows" in options, "unique" in options
        if "unsynced" in options:
            self.base.execute("SET GLOBAL fsync_mode = 'NONE'")
        self.base.execute(
            "CREATE TABLE readings (device UINTEGER, quantity USMALLINT, quality USMALLINT, cell UBIGINT, at_ms BIGINT, "
            "value DOUBLE"
            + (", PRIMARY KEY (device, at_ms))" if self.unique else ")")
        )
        self.base.execute(
            "CREATE TABLE windows (cell UBIGINT, quantity USMALLINT, minute BIGINT, n BIGINT, total DOUBLE, least DOUBLE, "
            "most DOUBLE)"
        )

    def prepare(self, rows):
        import pyarrow

        value = pyarrow.array(rows["value"], from_pandas=True)
        plain = {name: pyarrow.array(rows[name].copy()) for name in ("device", "quantity", "quality", "cell", "at_ms")}
        return pyarrow.table({**plain, "value": value})

    def take(self, group):
        self.base.register("fresh", group)
        self.base.execute("BEGIN")
        self.base.execute("INSERT INTO readings SELECT * FROM fresh" + (" ON CONFLICT DO NOTHING" if self.unique else ""))
        if self.windows:
            self.base.execute(
                f"INSERT INTO windows SELECT cell, quantity, at_ms // {MINUTE_MS}, {PARTIAL} FROM fresh "
                "WHERE quality = 0 GROUP BY ALL"
            )
        self.base.execute("COMMIT")

    def count(self):
        return self.base.execute("SELECT count(*) FROM readings").fetchall()[0][0]

    def held(self):
        self.base.execute("CHECKPOINT")
        return 0

    def close(self):
        self.base.close()


class ClickHouse:
    """chdb: ClickHouse as a library. A device's rows lie together, as in ours; the codecs are those its makers advise."""

    def __init__(self, folder, options):
        from chdb import session

        self.base = session.Session(os.path.join(folder, "base"))
        synced = ", fsync_after_insert = 1, fsync_part_directory = 1" if "synced" in options else ""
        self.base.query("CREATE DATABASE city")
        self.base.query(
            "CREATE TABLE city.readings (device UInt32 CODEC(Delta, ZSTD), quantity UInt16 CODEC(ZSTD), "
            "quality UInt8 CODEC(ZSTD), cell UInt64 CODEC(Delta, ZSTD), at_ms Int64 CODEC(DoubleDelta, ZSTD), "
            "value Nullable(Float64) CODEC(Gorilla, ZSTD)) "
            f"ENGINE = MergeTree ORDER BY (device, at_ms) SETTINGS non_replicated_deduplication_window = 100{synced}"
        )
        if "windows" in options:
            self.base.query(
                "CREATE MATERIALIZED VIEW city.windows ENGINE = AggregatingMergeTree ORDER BY (cell, quantity, minute) "
                f"SETTINGS non_replicated_deduplication_window = 100{synced} AS SELECT "
                f"cell, quantity, intDiv(at_ms, {MINUTE_MS}) AS minute, countState(value) AS n, sumState(value) AS total, "
                "minState(value) AS least, maxState(value) AS most FROM city.readings WHERE quality = 0 "
                "GROUP BY cell, quantity, minute"
            )

    prepare = DuckDB.prepare

    def take(self, group):
        # Its own way to know a repeat: a name for the insert. The view counts it all the same, unless its table has a
        # deduplication window of its own.
        name = f"{group['device'][0]}-{group['at_ms'][0]}"
        self.base.query(
            f"INSERT INTO city.readings SELECT {COLUMNS} FROM Python(group) SETTINGS insert_deduplicate = 1, "
            f"insert_deduplication_token = '{name}', deduplicate_blocks_in_dependent_materialized_views = 1"
        )

    def count(self):
        return int(str(self.base.query("SELECT count() FROM city.readings")))

    def held(self):
        # What was merged into others stays for minutes.
        return int(str(self.base.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'city'")))

    def close(self):
        self.base.close()


class SQLite:
    def __init__(self, folder, options):
        self.base = sqlite3.connect(os.path.join(folder, "base"), isolation_level=None)
        self.base.execute("PRAGMA journal_mode = WAL")
        self.base.execute(f"PRAGMA synchronous = {'OFF' if 'unsynced' in options else 'FULL'}")
        self.base.execute(
            f"CREATE TABLE readings ({COLUMNS}, PRIMARY KEY (device, at_ms)) WITHOUT ROWID" if "unique" in options
            else f"CREATE TABLE readings ({COLUMNS})"
        )

    def prepare(self, rows):
        # NaN becomes NULL by itself.
        return rows.tolist()

    def take(self, group):
        self.base.execute("BEGIN")
        self.base.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?)", group)
        self.base.execute("COMMIT")

    def count(self):
        return self.base.execute("SELECT count(*) FROM readings").fetchone()[0]

    def held(self):
        self.base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return 0

    def close(self):
        self.base.close()


STORES = {"duckdb": DuckDB, "chdb": ClickHouse, "sqlite": SQLite}


def main():
    name, folder, source, frames, most, *options = sys.argv[1:]
    cut = groups(source, int(frames), int(most))
    store = STORES[name](folder, options)
    prepared = [store.prepare(rows) for rows in cut]
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "take":
            taken, began = 0, time.monotonic()
            for rows, group in zip(cut, prepared):
                store.take(group)
                taken += len(rows)
                if time.monotonic() - began > float(rest[0]):
                    break
            print(taken, time.monotonic() - began, flush=True)
        elif word == "again":
            store.take(prepared[0])
            print("taken", flush=True)
        elif word == "count":
            print(store.count(), flush=True)
        elif word == "held":
            print(store.held(), flush=True)
        elif word == "close":
            store.close()
            print("closed", flush=True)
            return


if __name__ == "__main__":
    main()
