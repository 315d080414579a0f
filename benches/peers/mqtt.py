"""The least of MQTT 3.1.1, and for publishing 5, that QoS 1 needs. Blocking sockets, standard library only."""

import socket
import struct
import threading
import time


def _text(text):
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def _packet(first, body):
    length, head = len(body), bytes([first])
    while True:
        byte, length = length % 128, length // 128
        head += bytes([byte | (128 if length else 0)])
        if not length:
            return head + body


class Client:
    """A connection; reading and writing may happen in two threads."""

    def __init__(self, port, name, clean, version=4):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        # From version 5 on there are properties: none.
        self.properties = b"\0" if version >= 5 else b""
        flags = bytes([version, 2 if clean else 0]) + struct.pack(">H", 0)
        self.send(_packet(0x10, _text("MQTT") + flags + self.properties + _text(name)))
        first, body = self.read()
        if first >> 4 != 2 or body[1] != 0:
            raise ConnectionError("refused")

    def send(self, raw):
        self.socket.sendall(raw)

    def subscribe(self, topic):
        self.send(_packet(0x82, struct.pack(">H", 1) + _text(topic) + b"\x01"))

    def publish(self, topic, number, payload, again):
        body = _text(topic) + struct.pack(">H", number) + self.properties + payload
        self.send(_packet(0x32 | (8 if again else 0), body))

    def _take(self, count):
        while len(self.rest) < count:
            got = self.socket.recv(1 << 16)
            if not got:
                raise ConnectionError("closed")
            self.rest += got
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def read(self):
        first, length, shift = self._take(1)[0], 0, 0
        while True:
            byte = self._take(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return first, self._take(length)

    def close(self):
        self.socket.close()


class Publisher(threading.Thread):
    """Publishes 1, 2, 3… at a rate; what is not acknowledged is sent again after a lost connection, as MQTT asks."""

    WINDOW = 20

    def __init__(self, port, topic, rate, size):
        super().__init__(daemon=True)
        self.port, self.topic, self.rate, self.size = port, topic, rate, size
        # By packet id: numbers in the window never share one.
        self.open, self.next, self.acknowledged, self.ends = {}, 1, set(), False
        self.lock = threading.Lock()

    def payload(self, number):
        return f"{number:012d}".encode().ljust(self.size, b".")

    def run(self):
        began = time.monotonic()
        while not self.ends or self.open:
            try:
                client = Client(self.port, "sensors", clean=False)
                client.socket.settimeout(10)
                with self.lock:
                    again = sorted(self.open.items(), key=lambda entry: entry[1])
                for identity, number in again:
                    client.publish(self.topic, identity, self.payload(number), True)
                hearing = threading.Thread(target=self.hear, args=(client,), daemon=True)
                hearing.start()
                while hearing.is_alive() and (not self.ends or self.open):
                    due = int((time.monotonic() - began) * self.rate)
                    with self.lock:
                        fits = self.next <= due and len(self.open) < self.WINDOW and not self.ends
                        if fits:
                            number, self.next = self.next, self.next + 1
                            self.open[number % 65535 + 1] = number
                    if fits:
                        client.publish(self.topic, number % 65535 + 1, self.payload(number), False)
                    else:
                        time.sleep(0.001)
                client.close()
            except OSError:
                time.sleep(0.05)

    def hear(self, client):
        try:
            while True:
                first, body = client.read()
                if first >> 4 == 4:
                    with self.lock:
                        number = self.open.pop(struct.unpack(">H", body[:2])[0], None)
                        if number:
                            self.acknowledged.add(number)
        except OSError:
            pass


class Subscriber(threading.Thread):
    """Counts how often each number arrives; its session outlives its connections."""

    def __init__(self, port, topic):
        super().__init__(daemon=True)
        self.port, self.topic, self.times, self.ends = port, topic, {}, False

    def run(self):
        while not self.ends:
            try:
                client = Client(self.port, "city", clean=False)
                client.socket.settimeout(1)
                client.subscribe(self.topic)
                while not self.ends:
                    try:
                        first, body = client.read()
                    except TimeoutError:
                        continue
                    if first >> 4 == 3:
                        at = 2 + struct.unpack(">H", body[:2])[0]
                        identity, payload = body[at : at + 2], body[at + 2 :]
                        number = int(payload[:12])
                        self.times[number] = self.times.get(number, 0) + 1
                        client.send(_packet(0x40, identity))
            except OSError:
                time.sleep(0.05)
