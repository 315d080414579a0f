"""The message path: whoever takes frames from gateways and says when it has them. Ours is among them."""

import json
import os
import selectors
import socket
import struct
import time
from collections import deque

from measure import disk_bytes
from mosquitto import CHANGE, SECOND, Mosquitto
from mqtt import Client
from rig import Ingest, Process, free_port, until

# Frames in flight on one connection; ingest grants a gateway up to 64.
WINDOW = 16
# MQTT 5: "not now"; the frame is sent again after a pause, in seconds.
LATER, PAUSE = 0x83, 0.02
# Frames in flight to JetStream, which has one connection.
WIDE = 500
# How long all acknowledgements may take, in seconds.
PATIENCE = 60


def gateway(topic):
    """Who publishes to it: one connection each, as ingest wants it."""
    return topic.split("/")[2]


class Gateway:
    """One connection, and the frames that are still to go."""

    def __init__(self, port, name, version):
        self.client, self.waiting, self.open, self.number = Client(port, name, clean=True, version=version), deque(), {}, 0
        self.client.socket.settimeout(PATIENCE)

    def fill(self):
        while self.waiting and len(self.open) < WINDOW:
            frame = self.waiting.popleft()
            self.number = self.number % 60_000 + 1
            self.open[self.number] = frame
            self.client.publish(frame.topic, self.number, frame.payload, False)

    def hear(self):
        """Readings that were acknowledged; whether somebody said "not now"."""
        taken, later, fed = 0, False, self.client.socket.recv(1 << 16)
        if not fed:
            raise ConnectionError("the broker closed a connection")
        raw, at = self.client.rest + fed, 0
        while len(raw) - at >= 2 and len(raw) - at >= 2 + raw[at + 1]:
            first, length = raw[at], raw[at + 1]
            body, at = raw[at + 2 : at + 2 + length], at + 2 + length
            if first >> 4 != 4:
                continue
            frame, reason = self.open.pop(struct.unpack(">H", body[:2])[0]), body[2] if length > 2 else 0
            if reason < 0x80:
                taken += frame.readings
            elif reason == LATER:
                self.waiting.appendleft(frame)
                later = True
            else:
                raise ConnectionError(f"a frame was refused with reason {reason:#04x}")
        self.client.rest = raw[at:]
        return taken, later


def publish(port, frames, seconds, version):
    """Sends frames, each gateway's on a connection of its own, until they or the seconds end and all is acknowledged."""
    gateways = {}
    for frame in frames:
        name = gateway(frame.topic)
        if name not in gateways:
            gateways[name] = Gateway(port, name, version)
        gateways[name].waiting.append(frame)
    selector = selectors.DefaultSelector()
    for one in gateways.values():
        selector.register(one.client.socket, selectors.EVENT_READ, one)
    taken, began = 0, time.monotonic()
    try:
        for one in gateways.values():
            one.fill()
        while any(one.open or one.waiting for one in gateways.values()):
            heard = selector.select(PATIENCE)
            if not heard:
                raise TimeoutError("no acknowledgement came")
            ends = time.monotonic() - began > seconds
            for key, _ in heard:
                got, later = key.data.hear()
                taken += got
                if later:
                    time.sleep(PAUSE)
                if ends:
                    key.data.waiting.clear()
                key.data.fill()
        return taken, time.monotonic() - began
    finally:
        for one in gateways.values():
            one.client.close()


class OfMosquitto:
    """All frames wait for a subscriber that is away and whose session persists: otherwise there is nothing to keep."""

    def __init__(self, folder, options):
        saved = CHANGE if "change" in options else SECOND
        self.broker = Mosquitto(folder, "data", 0, saved, log="error")

    def start(self):
        self.broker.start()
        until(10, self.subscribed, "mosquitto answers")

    def subscribed(self):
        try:
            client = Client(self.broker.port, "city", clean=False)
        except OSError:
            return False
        client.subscribe("#")
        client.read()
        client.close()
        return True

    def pid(self):
        return self.broker.process.child.pid

    def take(self, frames, seconds):
        return publish(self.broker.port, frames, seconds, 4)

    def count(self):
        return None

    def held(self):
        return 0

    def stop(self):
        self.broker.process.stop()


class JetStream:
    """A stream in files; each frame carries its name, so that a repeat within two minutes is known."""

    def __init__(self, folder, options, binary="nats-server"):
        self.folder, self.port, self.binary = folder, free_port(), binary
        self.sync = "always" if "always" in options else "2m"

    def start(self):
        config = f"{self.folder}/conf"
        with open(config, "w") as out:
            out.write(
                f'listen: "127.0.0.1:{self.port}"\nmax_payload: 1MB\njetstream {{ store_dir: "{self.folder}/data"'
                + (f', sync_interval: "{self.sync}"' if self.sync != "2m" else "") + " }\n"
            )
        self.process = Process([self.binary, "-c", config], f"{self.folder}/log")

        def created():
            try:
                self.connect()
            except OSError:
                return False
            said = self.request("$JS.API.STREAM.CREATE.city", json.dumps(
                {"name": "city", "subjects": ["wf.>"], "storage": "file", "duplicate_window": 120_000_000_000}).encode())
            return '"error"' not in said

        until(15, created, "JetStream answers")

    def pid(self):
        return self.process.child.pid

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB _INBOX.peers 1\r\nPING\r\n')
        while b"PONG" not in self.socket.recv(1 << 16):
            pass

    def request(self, subject, body):
        self.socket.sendall(f"PUB {subject} _INBOX.peers {len(body)}\r\n".encode() + body + b"\r\n")
        return self.answer().decode()

    def answer(self):
        got = b""
        while b"MSG _INBOX" not in got or not got.endswith(b"}\r\n"):
            got += self.socket.recv(1 << 16)
        return got

    def take(self, frames, seconds):
        taken, open_, at, rest = 0, deque(), 0, b""
        began, ends = time.monotonic(), False
        while open_ or (at < len(frames) and not ends):
            batch = []
            while at < len(frames) and not ends and len(open_) < WIDE:
                frame = frames[at]
                head = f"NATS/1.0\r\nNats-Msg-Id: {frame.number}\r\n\r\n".encode()
                subject, whole = frame.topic.replace("/", "."), len(head) + len(frame.payload)
                batch += [f"HPUB {subject} _INBOX.peers {len(head)} {whole}\r\n".encode(), head, frame.payload, b"\r\n"]
                open_.append(frame.readings)
                at += 1
            if batch:
                self.socket.sendall(b"".join(batch))
            rest += self.socket.recv(1 << 16)
            if b"PING\r\n" in rest:
                self.socket.sendall(b"PONG\r\n")
                rest = rest.replace(b"PING\r\n", b"")
            *whole, rest = rest.split(b"}\r\n")
            for said in whole:
                if b'"error"' in said:
                    raise ConnectionError(said.decode())
                # Acknowledgements of one connection to one stream come in order.
                taken += open_.popleft()
            ends = time.monotonic() - began > seconds
        return taken, time.monotonic() - began

    def count(self):
        said = self.request("$JS.API.STREAM.INFO.city", b"")
        return json.loads(said[said.index("{") : said.rindex("}") + 1])["state"]["messages"]

    def held(self):
        return 0

    def stop(self):
        self.process.stop()


class Ours:
    """Ingest with its shipped settings: it also admits, drops repeats, closes windows and writes Parquet meanwhile."""

    def __init__(self, folder, options, binary="ingest"):
        self.ingest = Ingest(binary, os.path.join(folder, "ours"), free_port())

    def start(self):
        self.ingest.start()

    def pid(self):
        return self.ingest.process.child.pid

    def take(self, frames, seconds):
        return publish(self.ingest.mqtt, frames, seconds, 5)

    def count(self):
        return self.ingest.get("/api/v1/stats")["readings"]["accepted"]

    def held(self):
        # Its log is a ring beside that: what is kept of it when all is in Parquet is a setting.
        return disk_bytes(os.path.join(self.ingest.folder, "data", "pool"))

    def stop(self):
        self.ingest.process.stop()
