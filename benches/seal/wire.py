#!/usr/bin/env python3
"""A seal at the end of a serial line, with everything real: a lock (`gateway/examples/lock`), a gateway that is its post
office, and between them somebody who records, plays back, flips bits, drops and cuts.

  python benches/seal/wire.py PROGRAMS [FOLDER]
"""

import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

from village import AREA, Village, lodging, until

UP, DOWN = "up", "down"
SEED = 20261123


def say(line):
    print(line, flush=True)


class Wire:
    """Two pseudo-terminals, and who sits between them."""

    def __init__(self):
        self.ends, self.ports, self.tape = {}, {}, []
        self.meddle = lambda way, data: data
        for way in (UP, DOWN):
            # What comes out of this end goes that way.
            master, slave = os.openpty()
            self.ends[way], self.ports[way] = master, os.ttyname(slave)
            os.set_blocking(master, False)
            os.close(slave)
        for way in (UP, DOWN):
            threading.Thread(target=self.carry, args=(way,), daemon=True).start()

    def carry(self, way):
        while True:
            try:
                data = os.read(self.ends[way], 4096)
            except (BlockingIOError, OSError):
                # Nothing, or nobody there.
                time.sleep(0.002)
                continue
            self.tape.append((way, data))
            self.say(way, self.meddle(way, data))

    def say(self, way, data):
        """Puts bytes in at the far end."""
        try:
            os.write(self.ends[DOWN if way == UP else UP], data)
        except (BlockingIOError, OSError):
            pass

    def cut(self):
        self.meddle = lambda way, data: b""

    def mend(self):
        self.meddle = lambda way, data: data


class Lodge(Village):
    """The village, whose seal is a device of its own: `gateway.toml` is the lock's configuration."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.wire, self.post = Wire(), self.folder / "post.toml"

    def key_of(self, *command):
        return next(word for word in self.run(*command).stdout.split() if word.startswith("line-"))

    def pair(self):
        """What an installer does: each end's key goes to the other."""
        text = f"""
[gateway]
id = "gongli-07"
area = "{AREA}"
data = "post"
[place]
lat = 36.2870
lon = 116.4360
datum = "wgs84"
[ingest]
broker = "mqtt://127.0.0.1:{self.line.port}"
[board]
kind = "simulated"
"""
        lock_key = self.key_of("examples/lock", "--config", self.gateway_config, "key")
        self.post.write_text(f"""{text}[[seal_line]]
seal = "{self.seal}"
port = "{self.wire.ports[DOWN]}"
key = "{lock_key}"
""")
        self.run("gateway", "check", "--config", self.post)

    def start_post(self):
        self.start("gateway", "gateway", "run", "--config", self.post)

    def start_lock(self, config=None):
        key = self.key_of("gateway", "seal", "line", "--config", self.post)
        self.start("lock", "examples/lock", "--config", config or self.gateway_config, "run", "--port", self.wire.ports[UP],
                   "--gateway", key)

    def start_gateway(self):
        self.pair()
        self.start_post()
        self.start_lock()
        until("the desk of the lock is open", lambda: self.desk("status", ok=(0, 1, 2)).returncode == 0)
        self.connected()

    def line_status(self):
        done = self.run("gateway", "seal", "status", "--config", self.post, "--json", ok=(0, 1))
        return json.loads(done.stdout)["lines"][0] if done.returncode == 0 else {"connected": False}

    def connected(self):
        until("the line is connected", lambda: self.line_status()["connected"])

    def times(self, words):
        return self.log("lock").count(words)


def played_back(village):
    """All that was ever said, once more to both ends, while they talk: nothing is taken, nothing ends."""
    before, strokes, tape = village.line_status(), village.strokes(), list(village.wire.tape)
    for way, data in tape:
        village.wire.say(way, data)
        time.sleep(0.001)
    time.sleep(1)
    after = village.line_status()
    assert after["connected"] and after["sessions"] == before["sessions"], (before, after)
    assert after["records_refused"] > before["records_refused"], (before, after)
    assert village.strokes() == strokes
    say(f"played back to both while they talk: {sum(len(data) for _, data in tape)} bytes, "
        f"{after['records_refused'] - before['records_refused']} records refused by the gateway, the session goes on")


def played_back_to_a_new_start(village):
    """The same to a lock that has just been started and hears nobody else."""
    tape = list(village.wire.tape)
    village.wire.cut()
    village.stop("lock")
    connected, strokes = village.times("the gateway is connected"), village.strokes()
    village.start_lock()
    until("the desk of the lock is open", lambda: village.desk("status", ok=(0, 1, 2)).returncode == 0)
    for way, data in tape:
        if way == DOWN:
            village.wire.say(way, data)
            time.sleep(0.002)
    time.sleep(1)
    assert village.times("the gateway is connected") == connected, "somebody has passed for the gateway"
    assert village.strokes() == strokes
    village.wire.mend()
    village.connected()
    say("played back to a lock that has just started: it takes nobody for the gateway")


def somebody_else(village):
    """Another lock in the place of the right one: it does not know this gateway's seal, and gets nothing."""
    village.stop("lock")
    until("the lock is missed", lambda: not village.line_status()["connected"])
    other = village.folder / "other.toml"
    other.write_text(village.gateway_config.read_text().replace('data = "box"', 'data = "other"'))
    village.run("gateway", "seal", "init", "--config", other)
    before, connected = village.line_status(), village.times("the gateway is connected")
    village.start_lock(other)
    time.sleep(4)
    after = village.line_status()
    assert not after["connected"] and after["sessions"] == before["sessions"], after
    assert village.times("the gateway is connected") == connected
    village.stop("lock")
    village.start_lock()
    village.connected()
    say("another lock in its place: no session")


def bad_wire(seed):
    """One piece in ten is lost, doubled, has a bit flipped or noise behind it."""
    chance = random.Random(seed)

    def meddle(_, data):
        kind = chance.randrange(40)
        if kind == 0:
            return b""
        if kind == 1:
            return data + data
        if kind == 2:
            at = chance.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:]
        if kind == 3:
            return data + chance.randbytes(20)
        return data
    return meddle


def has_picture(village, digest):
    try:
        return bool(village.people["auditor"].ask("GET", f"/api/v1/pictures/{digest}"))
    except Exception:  # not there yet
        return False


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    with lodging(sys.argv[2:]) as folder, Lodge(folder, programs) as village:
        village.begin()
        say("office, witness, rules and gateway are there, and a lock at the end of its line")
        grant = village.granted()
        village.holds(grant)
        village.used_up(grant, village.carried(grant))
        receipts = until("two uses and a refusal are on record", lambda: (
            len(village.receipts("stamped")) == 2 and village.receipts("refused") and village.receipts("stamped")))
        for receipt in receipts:
            until("its photograph is there", lambda: has_picture(village, receipt["after"]))
        said = village.line_status()
        say(f"receipts and photographs came over the line: {json.dumps(said, ensure_ascii=False)}")

        played_back(village)
        played_back_to_a_new_start(village)
        somebody_else(village)

        say(f"a bad wire, seed {SEED}")
        village.wire.meddle = bad_wire(SEED)
        grant = village.granted()
        village.holds(grant)
        village.used_up(grant, village.carried(grant))
        until("all is on record", lambda: len(village.receipts("stamped")) == 4 and len(village.receipts("refused")) == 2)
        village.wire.mend()
        noise = village.line_status()["noise"]
        assert noise > 0, "the wire was not bad"
        say(f"{noise} pieces were noise to the gateway, and all is on record")

        grant = village.granted()
        village.holds(grant)
        village.wire.cut()
        assert village.stamp(grant)["ok"]
        village.wire.mend()
        # Somewhere while its mail goes up.
        until("the line is back", lambda: village.line_status()["connected"])
        village.stop("gateway", signal.SIGKILL)
        village.start_post()
        until("what was stamped on a cut wire is on record", lambda: len(village.receipts("stamped")) == 5)
        assert village.stamp(grant)["ok"]
        until("the last one too", lambda: len(village.receipts("stamped")) == 6)
        assert village.strokes() == 6, village.strokes()
        assert village.timeline()["findings"] == [], village.timeline()["findings"]
        until("the audit holds", lambda: village.audit(ok=(0, 65)).returncode == 0)
        say(village.audit().stdout)
        say("the line holds")


if __name__ == "__main__":
    main()
