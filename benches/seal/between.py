"""Somebody on the line between seal and city, who records, replays, keeps back, alters and adds: T11."""

import random
import time

from village import until

# Letters that are altered, of each kind: a bit anywhere in them.
ALTERED = 200
# No faster than the seal reads: what it has no room for is dropped, and shows nothing.
PAUSE_S = 0.01
# A seal that has asked waits so long at least before it asks again.
CALM_S = 2.5


def kind_of(letter):
    """An answer, a grant, rules; or nothing, which asks the seal to ask."""
    kinds = [kind for kind in ("answer", "grant", "policy") if f"vnd.watchfire.{kind}+cbor".encode() in letter[:64]]
    return kinds[0] if kinds else None


def altered(letter, chance):
    bit = chance.randrange(8 * len(letter))
    out = bytearray(letter)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


class Between:
    """Sits on the line from now on, and keeps back letters of some kinds."""

    def __init__(self, village, *kinds):
        self.village, self.line, self.kinds, self.kept = village, village.line, kinds, []
        self.line.down = self.hear

    def hear(self, letter):
        if kind_of(letter) not in self.kinds:
            return letter
        self.kept.append(letter)
        return None

    def newest(self, kind):
        return until(f"there is an {kind}", lambda: [letter for letter in self.kept if kind_of(letter) == kind])[-1]

    def restarts(self):
        """A seal that has not heard, asks, and gets no answer."""
        self.village.stop("gateway")
        self.village.start_gateway()
        return self.newest("answer")

    def prepares(self):
        """Has a good grant to say at the end, and waits until the seal asks no more because of it."""
        grant = self.village.granted(copies=1)
        self.good = grant, until("it is on its way", lambda: [one for one in self.kept if bytes.fromhex(grant) in one])[0]
        count = 0
        while len(self.kept) > count:
            count = len(self.kept)
            time.sleep(CALM_S)

    def says(self, letters):
        """Says letters to the seal, and then the good grant, which is held once all before it were looked at: that grant."""
        grant, good = self.good
        for letter in [*letters, good]:
            self.line.say(letter)
            time.sleep(PAUSE_S)
        self.village.holds(grant)
        assert "the seal is busy" not in self.village.log("gateway"), "it has not looked at all"
        return grant

    def goes(self):
        """Goes away; the seal asks once more, and is heard."""
        self.line.honest()
        self.village.desk("ask")
        ago_s = lambda: self.village.status()["heard_s_ago"]
        until("the seal has heard just now", lambda: (seconds := ago_s()) is not None and seconds <= 1)


def t11_between(village):
    chance, line = random.Random(11), village.line
    grant = village.granted(copies=2)
    village.holds(grant)
    village.stamps(grant)
    # What went by until now: answers, grants, rules.
    recorded = {kind: [letter for letter in line.letters if kind_of(letter) == kind] for kind in ("answer", "grant", "policy")}
    between = Between(village, "answer", "grant")
    between.restarts()
    between.prepares()
    between.says(recorded["answer"])
    assert village.status()["heard_s_ago"] is None
    why = village.stamp(grant, press=False)["refused"]
    assert why == "lease_hours", why
    replayed = len(recorded["answer"])
    yield "T11", f"{replayed} answers that were heard before are replayed after a restart", f"none counts: {why}"
    between.prepares()
    true = between.newest("answer")
    between.says(altered(true, chance) for _ in range(ALTERED))
    assert village.status()["heard_s_ago"] is None
    line.say(true)
    village.heard()
    village.stamps(grant)
    yield "T11", f"a bit is altered in {ALTERED} copies of an answer", "none counts; the true one does"
    # That one was some seconds old, and so is the time that the seal knows by it.
    between.goes()
    between = Between(village, "answer", "grant")
    between.prepares()
    fresh = village.granted(copies=1)
    flying = until("it is on its way", lambda: [letter for letter in between.kept if bytes.fromhex(fresh) in letter])[0]
    between.says(altered(flying, chance) for _ in range(ALTERED))
    assert fresh not in village.desk("status").stdout
    line.say(flying)
    village.holds(fresh)
    village.stamps(fresh)
    between.prepares()
    status, strokes = village.status(), village.strokes()
    again = recorded["grant"] + recorded["policy"] + [flying]
    held = between.says(again)
    now = village.status()
    assert [one["grant"] for one in now["grants"]] == [*(one["grant"] for one in status["grants"]), held]
    assert (now["counter"], now["policy"], village.strokes()) == (status["counter"], status["policy"], strokes)
    between.goes()
    yield "T11", f"a bit is altered in {ALTERED} copies of a grant; {len(again)} grants and rules are replayed", \
        "none is held; the true one is, once"


def t11_late(village):
    """The answer is kept back for longer than it lives; the rules say how long that is."""
    between, seconds = Between(village, "answer", "grant"), 11.5
    between.restarts()
    between.prepares()
    first = between.newest("answer")
    time.sleep(seconds)
    assert between.newest("answer") == first, "it has asked another question"
    before = len(village.log("gateway"))
    between.says([first])
    assert "why=Late" in village.log("gateway")[before:]
    assert village.status()["heard_s_ago"] is None
    between.goes()
    yield "T11", f"an answer is kept back for {seconds} s, and lives for {village.lease[2]}", "it counts for nothing: late"


def crc32c(data):
    """The checksum of a frame (RFC 3720 §12.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def t11_up(village):
    """What the seal has signed is altered on its way to the city: carelessly, and with a checksum that is right again."""
    chance = random.Random(12)
    grant = village.granted(copies=3)
    village.holds(grant)
    receipts, before = len(village.receipts("stamped")), set(village.words())

    def carefully(frame):
        body = bytearray(frame[:-4])
        # In a signature, with which an envelope ends.
        body[-8] ^= 1
        return bytes(body) + crc32c(body)

    assert crc32c(b"123456789") == 0xE3069283.to_bytes(4, "little")
    frames = 0
    for alter in (lambda frame: altered(frame, chance), carefully):
        changed = []
        village.line.up = lambda frame: changed.append(frame) or alter(frame)
        village.stamps(grant)
        until("it is on its way", lambda: changed)
        time.sleep(CALM_S)
        frames += len(changed)
    village.line.honest()
    village.stamps(grant)
    village.desk("ask")
    until("the third receipt has come, two are missing, and one is said to be forged", lambda: (
        {"gap", "forged"} <= set(village.words()) and len(village.receipts("stamped")) == receipts + 1))
    found = ", ".join(sorted(set(village.words()) - before))
    yield "T11", f"{frames} frames with receipts and hellos are altered on their way up, some with a checksum that is right", \
        f"no receipt is taken; found: {found}"
