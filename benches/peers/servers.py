"""Stores that are servers: started on loopback in a folder of their own, fed by as many writers as the machine has cores."""

import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import urllib.parse

from rig import Process, free_port, until

WRITERS = 2
MINUTE_MS = 60_000
# A server's answer may wait for its disk.
PATIENCE_S = 60


def lines(rows):
    """Rows as line protocol; what has no value is left out, since neither peer can store that."""
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    good = rows[~numpy.isnan(rows["value"])]
    device, quantity, cell, at_ms, value = (
        pyarrow.array(good[name].copy()).cast(pyarrow.string()) for name in ("device", "quantity", "cell", "at_ms", "value")
    )
    text = compute.binary_join_element_wise(
        "r,device=", device, ",quantity=", quantity, ",cell=", cell, " value=", value, " ", at_ms, "\n", ""
    )
    return "".join(text.to_pylist()).encode()


class Server:
    """A process, and how to ask it over HTTP."""

    def __init__(self, folder, options):
        self.folder, self.options, self.port, self.process = folder, options, free_port(), None

    def pid(self):
        return self.process.child.pid

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method, path, body=None, connection=None):
        connection = connection or self.connect()
        connection.request(method, path, body)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path[:80]}: {answer.status} {said[:200]}")
        return said

    def answers(self, path):
        def tried():
            try:
                self.ask("GET", path)
                return True
            except (OSError, RuntimeError, http.client.HTTPException):
                if not self.process.lives():
                    raise RuntimeError(self.process.words()[-500:])
                return False

        until(30, tried, f"{path} answers")

    def held(self):
        """What counts as its own on disk, in bytes; 0 for all of the folder."""
        return 0

    def stop(self):
        self.process.stop()


class VictoriaMetrics(Server):
    def start(self):
        self.process = Process(
            ["victoria-metrics", f"-storageDataPath={self.folder}/data", f"-httpListenAddr=127.0.0.1:{self.port}",
             "-retentionPeriod=12", "-loggerLevel=ERROR"], f"{self.folder}/log")
        self.answers("/health")

    prepare = staticmethod(lines)

    def take(self, connection, group):
        self.ask("POST", "/write?precision=ms", group, connection)

    def count(self):
        """Of the first devices alone: all would be read one by one."""
        self.ask("GET", "/internal/force_flush")
        said = self.ask("GET", "/api/v1/export?" + urllib.parse.urlencode({"match[]": '{device=~"[0-9]"}'}))
        return sum(len(json.loads(line)["values"]) for line in said.splitlines())


class InfluxDB(Server):
    def start(self):
        other = free_port()
        config = f"{self.folder}/conf"
        with open(config, "w") as out:
            # Its default but for: more devices than it lets in, the WAL's delay, and to settle within seconds.
            out.write(
                f'reporting-disabled = true\nbind-address = "127.0.0.1:{other}"\n[meta]\ndir = "{self.folder}/meta"\n'
                f'[data]\ndir = "{self.folder}/data"\nwal-dir = "{self.folder}/wal"\nindex-version = "inmem"\n'
                'max-values-per-tag = 0\nmax-series-per-database = 0\ncache-snapshot-write-cold-duration = "3s"\n'
                f'wal-fsync-delay = "0s"\nquery-log-enabled = false\n[monitor]\nstore-enabled = false\n'
                f'[http]\nbind-address = "127.0.0.1:{self.port}"\nlog-enabled = false\n[logging]\nlevel = "error"\n'
            )
        self.process = Process(["influxd", "-config", config], f"{self.folder}/log")
        self.answers("/ping")
        self.ask("POST", "/query?" + urllib.parse.urlencode({"q": "CREATE DATABASE city"}))

    prepare = staticmethod(lines)

    def take(self, connection, group):
        self.ask("POST", "/write?db=city&precision=ms", group, connection)

    def count(self):
        said = self.ask("GET", "/query?" + urllib.parse.urlencode({"db": "city", "q": "SELECT count(value) FROM r"}))
        return json.loads(said)["results"][0]["series"][0]["values"][0][1]


class ClickHouse(Server):
    """Debian's server of 2018, fed with RowBinary."""

    def start(self):
        config, users = f"{self.folder}/config.xml", f"{self.folder}/users.xml"
        with open(config, "w") as out:
            out.write(
                f"<yandex><logger><level>error</level><console>1</console></logger><listen_host>127.0.0.1</listen_host>"
                f"<http_port>{self.port}</http_port><tcp_port>{free_port()}</tcp_port><path>{self.folder}/data/</path>"
                f"<tmp_path>{self.folder}/tmp/</tmp_path><users_config>{users}</users_config>"
                "<default_profile>default</default_profile><default_database>default</default_database><mark_cache_size>5368709120</mark_cache_size></yandex>"
            )
        with open(users, "w") as out:
            out.write(
                "<yandex><profiles><default/></profiles><users><default><password/><networks><ip>127.0.0.1</ip></networks>"
                "<profile>default</profile><quota>default</quota></default></users><quotas><default/></quotas></yandex>"
            )
        self.process = Process(["clickhouse-server", f"--config-file={config}"], f"{self.folder}/log")
        self.answers("/ping")
        self.ask(
            "POST", "/", "CREATE TABLE readings (device UInt32, quantity UInt16, quality UInt16, cell UInt64, at_ms Int64, "
            "value Float64) ENGINE = MergeTree PARTITION BY tuple() ORDER BY (device, at_ms)")

    def prepare(self, rows):
        # The file's own layout is RowBinary; what has no value is NaN.
        return rows.tobytes()

    def take(self, connection, group):
        self.ask("POST", "/?query=INSERT+INTO+readings+FORMAT+RowBinary", group, connection)

    def count(self):
        return int(self.ask("POST", "/", "SELECT count() FROM readings"))

    def held(self):
        # What was merged into others stays for minutes.
        return int(self.ask("POST", "/", "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'default'"))


class PostgreSQL(Server):
    # Debian keeps its programs out of PATH, and it will not run as root.
    HOME = "/usr/lib/postgresql"
    TABLE = "(device int4, quantity int2, quality int2, cell int8, at_ms int8, value float8)"
    KEEP = "INSERT INTO readings SELECT * FROM fresh ORDER BY device, at_ms ON CONFLICT DO NOTHING"
    # Repeats are left out before the windows are added to, in one statement and so in one transaction.
    POOL = (
        f"WITH kept AS ({KEEP} RETURNING *) INSERT INTO windows AS w SELECT cell, quantity, at_ms / {MINUTE_MS}, count(value), "
        "sum(value), min(value), max(value) FROM kept WHERE quality = 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 "
        "ON CONFLICT (cell, quantity, minute) DO UPDATE SET n = w.n + excluded.n, total = w.total + excluded.total, "
        "least = least(w.least, excluded.least), most = greatest(w.most, excluded.most)"
    )

    def start(self):
        version = max(os.listdir(self.HOME), key=int)
        programs, data, log = f"{self.HOME}/{version}/bin", f"{self.folder}/data", f"{self.folder}/log"
        self.as_user = []
        if os.getuid() == 0:
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            os.chmod(self.folder, 0o755)
            os.chmod(os.path.dirname(self.folder), 0o755)
            os.mkdir(data, 0o700)
            shutil.chown(data, "postgres", "postgres")
        subprocess.run(
            [*self.as_user, f"{programs}/initdb", "-D", data, "-U", "city", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, cwd="/",
        )
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "1GB",
            "max_wal_size": "4GB", "wal_compression": "lz4", "checkpoint_timeout": "15min",
            "synchronous_commit": "off" if "unsynced" in self.options else "on",
        }
        arguments = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self.process = Process([*self.as_user, f"{programs}/postgres", "-D", data, *arguments], log)

        def answers():
            import psycopg2
            try:
                self.connect().close()
                return True
            except psycopg2.OperationalError:
                return False

        until(30, answers, "PostgreSQL answers")
        keyed = "pooled" in self.options or "unique" in self.options
        base = self.connect()
        base.cursor().execute(
            f"CREATE TABLE readings {self.TABLE};"
            + ("ALTER TABLE readings ADD PRIMARY KEY (device, at_ms);" if keyed else "")
            + "CREATE TABLE windows (cell int8, quantity int2, minute int8, n int8, total float8, least float8, most float8, "
            "PRIMARY KEY (cell, quantity, minute))"
        )
        base.commit()
        base.close()

    def connect(self):
        import psycopg2

        base = psycopg2.connect(host="127.0.0.1", port=self.port, user="city", dbname="postgres")
        if "pooled" in self.options or "unique" in self.options:
            base.cursor().execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS fresh {self.TABLE} ON COMMIT DELETE ROWS")
            base.commit()
        return base

    def prepare(self, rows):
        """COPY's binary form, all fields of a fixed width."""
        import numpy

        fields = [("device", "i4"), ("quantity", "i2"), ("quality", "i2"), ("cell", "i8"), ("at_ms", "i8"), ("value", "f8")]
        parts = [part for name, form in fields for part in ((f"{name}_", ">i4"), (name, f">{form}"))]
        kind = numpy.dtype([("fields", ">i2"), *parts])
        out = numpy.empty(len(rows), kind)
        out["fields"] = len(fields)
        for name, form in fields:
            out[f"{name}_"], out[name] = int(form[1:]), rows[name]
        return b"PGCOPY\n\xff\r\n\0" + bytes(8) + out.tobytes() + b"\xff\xff"

    def take(self, base, group):
        cursor = base.cursor()
        staged = "pooled" in self.options or "unique" in self.options
        into = "fresh" if staged else "readings"
        cursor.copy_expert(f"COPY {into} FROM STDIN (FORMAT binary)", io.BytesIO(group), 1 << 20)
        if staged:
            cursor.execute(self.POOL if "pooled" in self.options else self.KEEP)
        base.commit()

    def asks(self, query):
        base = self.connect()
        cursor = base.cursor()
        cursor.execute(query)
        found = cursor.fetchone()[0]
        base.close()
        return found

    def count(self):
        return self.asks("SELECT count(*) FROM readings")

    def held(self):
        # Tables and indexes; its WAL is recycled.
        return int(self.asks("SELECT pg_total_relation_size('readings') + pg_total_relation_size('windows')"))

    def stop(self):
        # Its fast stop: it does not wait for connections that are still open.
        self.process.child.send_signal(signal.SIGINT)
        self.process.stop()
