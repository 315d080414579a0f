"""The network between a gateway and the city: it can be cut, and somebody may sit on it who reads, keeps back, alters and adds.

Of MQTT 5 no more is read than that takes: whole packets, and in a PUBLISH where its payload begins.
"""

import socket
import threading

PUBLISH = 3
# What a seal listens to begins neither so nor with anything else that is no letter: it stands for one that was kept back, as
# the city sends no other before this one is acknowledged.
NOTHING = b"\0"


def number(packet, at):
    """A number of one to four bytes (MQTT 5 §1.5.5) and where it ends; nothing while it has not come yet."""
    value = 0
    for shift, byte in enumerate(packet[at:at + 4]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, at + shift + 1
    return None


def written(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def whole(kept):
    """Takes packets off the front of what has come: each with its first byte and what lies behind its length."""
    while length := number(kept, 1):
        size, begin = length
        if len(kept) < begin + size:
            return
        yield kept[0], bytes(kept[begin:begin + size])
        del kept[:begin + size]


def packet(first, body):
    return bytes([first]) + written(len(body)) + body


def parted(first, body):
    """The topic of a PUBLISH (§3.3), all before its payload, and that."""
    topic_end = 2 + int.from_bytes(body[:2], "big")
    properties = topic_end + (2 if first & 6 else 0)
    length, begin = number(body, properties)
    return body[2:topic_end].decode(), body[:begin + length], body[begin + length:]


class Line:
    """Carries one gateway's connections to `to`. `down` and `up` are asked what becomes of a letter to the seal, and of a frame
    of its lane; what they answer goes on, and [`NOTHING`] for no answer."""

    def __init__(self, to):
        self.to, self.is_cut, self.open = to, False, []
        self.down = self.up = lambda letter: letter
        # Every letter to the seal that has come this way, as it was sent.
        self.letters, self.topic, self.lock = [], None, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                if self.is_cut:
                    raise OSError("cut")
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            self.open += [near, far]
            for one, other, read in ((near, far, self.going_up), (far, near, self.going_down)):
                threading.Thread(target=self.carry, args=(one, other, read), daemon=True).start()

    def carry(self, one, other, read):
        kept = bytearray()
        try:
            while data := one.recv(65536):
                kept += data
                for first, body in whole(kept):
                    out = packet(first, read(first, body))
                    with self.lock:
                        other.sendall(out)
        except OSError:
            pass
        for end in (one, other):
            end.close()

    def going_down(self, first, body):
        if first >> 4 == PUBLISH:
            topic, head, letter = parted(first, body)
            if topic.endswith("/down/seal"):
                self.topic = topic
                self.letters.append(letter)
                return head + self.told(self.down, letter)
        return body

    def going_up(self, first, body):
        if first >> 4 == PUBLISH:
            topic, head, frame = parted(first, body)
            if topic.endswith("/up/seal"):
                return head + self.told(self.up, frame)
        return body

    @staticmethod
    def told(who, letter):
        answer = who(letter)
        return NOTHING if answer is None else answer

    def say(self, letter):
        """Says something to the seal that the city has not said."""
        topic = self.topic.encode()
        out = packet(PUBLISH << 4, len(topic).to_bytes(2, "big") + topic + b"\0" + letter)
        with self.lock:
            self.open[-2].sendall(out)

    def honest(self):
        """Nobody sits on it any more."""
        self.down = self.up = lambda letter: letter

    def cut(self):
        self.is_cut = True
        for end in self.open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []

    def mend(self):
        self.is_cut = False
