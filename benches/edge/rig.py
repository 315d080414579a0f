"""What the rigs of the edge share: a gateway and an ingest as real processes, and what they say of themselves.

Standard library only. Servers listen on loopback; every process that is started is stopped by its id.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

MIB = 1 << 20


def say(text):
    print(text, flush=True)


def figure(name, value):
    say(f"  {name:<66} {value}")


class Verdict:
    """Collects what must hold; a rig fails when one of them does not."""

    def __init__(self):
        self.broken = 0

    def check(self, name, holds, shown=""):
        self.broken += not holds
        say(f"  {'ok  ' if holds else 'FAIL'} {name}{': ' if shown != '' else ''}{shown}")

    def leave(self):
        say("all held" if not self.broken else f"{self.broken} did not hold")
        sys.exit(1 if self.broken else 0)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(seconds, holds, what):
    """Waits until `holds` gives something true, which it returns."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"never within {seconds} s: {what}")


class Process:
    """A child that writes its words to a file."""

    def __init__(self, arguments, log, environment=None):
        self.log = log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                arguments, stdout=out, stderr=out, env={**os.environ, **(environment or {})}
            )

    def lives(self):
        return self.child.poll() is None

    def stop(self, seconds=30):
        if self.lives():
            self.child.terminate()
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        if self.lives():
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def words(self):
        with open(self.log, errors="replace") as text:
            return text.read()


class Ingest:
    """An ingest with a folder of its own."""

    def __init__(self, binary, folder, mqtt_port):
        self.binary, self.folder, self.mqtt, self.http = binary, folder, mqtt_port, free_port()
        os.makedirs(folder, exist_ok=True)
        self.config = os.path.join(folder, "ingest.toml")
        with open(self.config, "w") as out:
            out.write(
                f'data = "data"\n[mqtt]\nlisten = "127.0.0.1:{mqtt_port}"\n'
                f'[http]\nlisten = "127.0.0.1:{self.http}"\n'
            )
        self.process = None

    def start(self):
        self.process = Process(
            [self.binary, "serve", "--config", self.config], os.path.join(self.folder, "log")
        )
        until(60, lambda: self.get("/api/v1/health") is not None, "ingest answers")

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def lanes(self, gateway):
        """The lanes of a gateway by name; with several stores the newest counts."""
        found = self.get(f"/api/v1/gateways/{gateway}") or {}
        return {lane["lane"]: lane for lane in found.get("lanes") or []}

    def losses(self, gateway):
        return (self.get(f"/api/v1/gateways/{gateway}") or {}).get("losses") or []


class Gateway:
    """A gateway on a simulated board: transmitters of smoke on many buses, and rules that come and go with it."""

    def __init__(self, binary, folder, data, mqtt_port, sensors, every, speed=1, quota="64 MiB", rules=""):
        self.binary, self.folder, self.data = binary, folder, data
        os.makedirs(folder, exist_ok=True)
        self.config = os.path.join(folder, "gateway.toml")
        lines = [
            '[gateway]', 'id = "edge"', 'area = ""', f'data = "{data}"',
            '[place]', 'lat = 30.66', 'lon = 104.05', 'datum = "wgs84"',
            '[ingest]', f'broker = "mqtt://127.0.0.1:{mqtt_port}"', 'patience = "5s"',
            '[board]', 'kind = "simulated"', 'seed = 7', f'speed = {speed}',
            '[batch]', 'age = "1s"', '[buffer]', f'quota = "{quota}"',
        ]
        for n in range(sensors):  # 4 chips of 4 channels on a bus
            lines += [
                '[[device]]', f'name = "d{n}"', 'chip = "ads1115-loop"', f'bus = "/dev/i2c-{n // 16}"',
                f'address = {72 + n // 4 % 4}', f'channel = {n % 4}', 'shunt_ohm = 100', 'at_4ma = 0',
                'at_20ma = 20', f'every = "{every}"',
                f'outputs = {{ value = {{ sensor = "s{n}", quantity = "smoke-obscuration" }} }}',
            ]
        with open(self.config, "w") as out:
            out.write("\n".join(lines) + "\n" + rules)
        self.process = None

    def start(self):
        self.process = Process(
            [self.binary, "run", "--config", self.config], os.path.join(self.folder, "log"),
            {"RUST_LOG": "info"},
        )

    def status(self):
        try:
            with open(os.path.join(self.data, "status.json")) as text:
                return json.load(text)
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def backlog(self, lane):
        status = self.status()
        return dict(status["backlog"])[lane] if status else 0

    def inspect(self):
        """What lies in its buffer; it must not run."""
        out = subprocess.run(
            [self.binary, "inspect", "--json", "--data", self.data], capture_output=True, text=True
        )
        found = json.loads(out.stdout)
        return found, {lane["lane"]: lane for lane in (found["store"] or {"lanes": []})["lanes"]}


def binaries(folder, *names):
    """The programs of a cargo profile's folder."""
    found = [os.path.join(os.path.realpath(folder), name) for name in names]
    for path in found:
        if not os.access(path, os.X_OK):
            sys.exit(f"{path} is missing: build it first (cargo build -p gateway -p ingest)")
    return found


def workplace():
    # Whole: the gateway takes a path in its configuration from where that lies.
    return os.path.abspath(tempfile.mkdtemp(prefix="watchfire-edge.", dir=os.environ.get("EDGE_DIR", ".")))


def clear(folder):
    shutil.rmtree(folder, ignore_errors=True)
