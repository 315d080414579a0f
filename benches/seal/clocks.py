"""The gateway's wall clock is set back, with the word of a time service that somebody has fooled, or is not there: T3."""

import base64
import os
import pathlib
import subprocess
import time

import cbor2

from between import Between
from insider import ID, NONCE, SEQUENCE, Insider
from village import until

HOUR_S = 3600
SHORT_S = 12


class Clock:
    """The wall clock of a village's gateway."""

    def __init__(self, village):
        self.village, self.file = village, village.folder / "clock"
        library = village.folder / "clock.so"
        source = pathlib.Path(__file__).with_name("clock.c")
        subprocess.run(["gcc", "-O", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        village.environment["gateway"] = {"LD_PRELOAD": str(library), "WATCHFIRE_CLOCK": str(self.file)}

    def set(self, off_s, has_word):
        """So many seconds from the real one; a service says that this is right, or has never said anything."""
        self.file.write_text(str(int(off_s)))
        word = self.file.with_name("clock.word")
        word.unlink(missing_ok=True)
        if has_word:
            word.touch()
            at_s = time.time() + int(off_s)
            os.utime(word, (at_s, at_s))

    def right(self):
        self.village.environment.clear()


def t3_set_back(village):
    clock = Clock(village)
    clock.set(0, True)
    village.restart()
    now_ms = int(time.time() * 1000)
    grant = village.granted(copies=2, not_before_ms=now_ms, expires_ms=now_ms + SHORT_S * 1000)
    village.holds(grant)
    copy = village.carried(grant)
    village.stamps(grant)
    time.sleep(max(0, SHORT_S - (time.time() - now_ms / 1000)) + 1)
    before, strokes = len(village.log("gateway")), village.strokes()
    clock.set(-HOUR_S, True)
    until("the gateway believes it", lambda: "the wall clock changed state=Synchronised" in village.log("gateway")[before:])
    running = village.stamp(grant, press=False)["refused"], village.present(copy)
    assert running[1] == "expired", running
    # The time that stands in receipts does not go back either.
    other = village.granted(copies=1)
    village.holds(other)
    village.stamps(other)
    village.stop("gateway")
    clock.set(-HOUR_S, True)
    village.start_gateway()
    village.heard()
    started = village.present(copy)
    assert started in ("expired", "replayed"), started
    assert village.strokes() - strokes == 1
    receipts = until("all has come", lambda: (
        all_ if len(all_ := village.receipts()) >= village.status()["receipts"] else None))
    times = [receipt["at_ms"] for receipt in sorted(receipts, key=lambda receipt: receipt["number"])]
    assert times == sorted(times), times
    assert times[-1] / 1000 > time.time() - HOUR_S / 2, times
    yield "T3", f"a grant has expired, and the clock is set back by {HOUR_S} s with a time service's word; then a restart", \
        f"{running[1]}, {started}; the times of {len(times)} receipts do not go back"
    clock.right()


def t3_no_clock(village):
    """The battery of the clock is out: it is 1970, and what the city says of the time is kept back."""
    clock, insider = Clock(village), Insider(village)
    clock.set(-time.time(), False)
    grant = village.granted(copies=1)
    village.holds(grant)
    between = Between(village, "answer")
    between.restarts()
    status = village.status()
    assert not status["time_known"], status
    ordinary = village.stamp(grant, press=False)["refused"]
    assert ordinary == "lease_hours", ordinary
    # The office does not do this yet: with the keys of all, one that answers the newest question.
    envelope = cbor2.loads(base64.b64decode(village.carried(grant)))[0]
    fields, _ = insider.opened(envelope)

    def bound(to):
        fresh = {**fields, ID: os.urandom(16), SEQUENCE: fields[SEQUENCE] + 40 + len(made), NONCE: to}
        made.append(insider.logged("grant", insider.envelope("grant", fresh, ["issuer", "secretary", "clerk"])))
        return fresh[ID].hex(), base64.b64encode(made[-1]).decode()

    made = []
    stranger, copy = bound(os.urandom(16))
    village.present(copy)
    why = village.stamp(stranger, press=False)["refused"]
    assert why in ("lease_hours", "time_unknown"), why

    def answers():
        # It may have asked again meanwhile.
        name, copy = bound(insider.opened(between.newest("answer"))[0][2])
        village.present(copy)
        said = village.stamp(name)
        return said["ok"] or None

    until("one that answers its question is good", answers)
    again = village.stamp(grant, press=False)["refused"]
    assert again == "lease_hours", again
    assert not village.status()["time_known"]
    between.goes()
    assert village.status()["time_known"]
    village.stamps(grant)
    clock.right()
    village.restart()
    # In the log it stands, and the office has not given it.
    until("the office has found the use", lambda: "unlogged" in village.words())
    yield "T3", "the clock says 1970, and no answer comes through", \
        f"any grant: {ordinary}; one for another question: {why}; one that answers its question stamps; heard again, all do"
