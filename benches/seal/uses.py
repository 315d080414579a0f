"""Uses of a seal one after the other, by a person who counts: how often it opened, how often it was pressed, what it
remembers of that after it was killed, and whether the receipts say the same."""

import collections
import dataclasses
import json
import os
import select
import shutil
import signal
import socket
import threading
import time

from village import CARD, Refused, Village, until

# How long the desk may take for an answer: a gateway that waits for a press says so after 20 s.
ANSWER_S = 40
# How long it may take until a seal that was started can be used.
READY_S = 60
# Between two looks at the lock.
LOOK_S = 0.001
# How long a photograph takes at most: long enough to be killed in.
PICTURE_S = 0.08
# How often a rig that runs for long says how far it is.
TELL_EVERY_S = 20


class Progress:
    """Says now and then how many of all are done, and how long the others will take."""

    def __init__(self, what, of):
        self.what, self.of, self.done, self.began = what, of, 0, time.monotonic()
        self.told = self.began

    def each_s(self):
        return (time.monotonic() - self.began) / max(1, self.done)

    def is_done(self, count, failed):
        self.done += count
        if time.monotonic() < self.told + TELL_EVERY_S:
            return
        self.told = time.monotonic()
        left_s = round(self.each_s() * (self.of - self.done))
        print(f"  {self.done} of {self.of} {self.what}, {failed} failed, {self.each_s():.1f} s each, "
              f"{left_s // 60} min {left_s % 60} s left", flush=True)


@dataclasses.dataclass
class Attempt:
    """Somebody asked for a use: what was seen of it."""
    grant: str
    plan: str
    began: float = 0.0
    opened: float | None = None
    pressed: float | None = None
    # Strokes while the device was there, and after it was killed while nobody closed the lock.
    strokes: int = 0
    later: int = 0
    answer: dict | None = None
    ended: float | None = None
    killed: bool = False
    is_open_at_end: bool = False
    photographing: bool = False
    counter: int | None = None
    # Which use it was, as the journal has it afterwards; none when nothing was spent.
    number: int | None = None


class Table(threading.Thread):
    """The paper under the camera: a pipe, so that a picture takes as long as it is held back, and each is another one."""

    def __init__(self, path, random):
        super().__init__(daemon=True)
        self.path, self.random, self.is_looking, self.count = path, random, False, 0
        os.mkfifo(path)

    def run(self):
        while True:
            try:
                with open(self.path, "wb") as pipe:  # waits until somebody takes a picture
                    self.is_looking = True
                    time.sleep(self.random.uniform(0, PICTURE_S))
                    self.count += 1
                    pipe.write(b"\xff\xd8\xff\xe0" + self.count.to_bytes(4, "big") * 10_000 + b"\xff\xd9")
            except BrokenPipeError:
                pass  # killed
            self.is_looking = False
            time.sleep(0.01)  # it must have seen the end of this one before the next begins


class Seal(Village):
    """A village, grants with several uses each, and a person who keeps an account."""

    def __init__(self, folder, programs, random, uses, **more):
        super().__init__(folder, copied(programs, folder), most_uses=uses, **more)
        self.random, self.uses = random, uses
        self.grants, self.attempts, self.wrong = [], [], []
        self.patience_s = READY_S

    def begin(self):
        super().begin()
        for picture in self.album.iterdir():
            picture.unlink()
        self.table = Table(self.album / "0.jpg", self.random)
        self.table.start()
        until("the rules are there", lambda: self.ready()["policy"] == 1)

    def more_grants(self, count):
        """More grants that the seal holds."""
        for _ in range(count):
            grant = self.granted(copies=self.uses)
            self.holds(grant)
            self.grants.append(grant)

    # The desk.

    def ask(self, request):
        asked = socket.socket(socket.AF_UNIX)
        asked.settimeout(ANSWER_S)
        asked.connect(str(self.box() / "seal.sock"))
        asked.sendall(json.dumps(request).encode() + b"\n")
        return asked

    def box(self):
        return self.folder / "box"

    def look(self):
        """How the seal is; nothing while nobody is there."""
        try:
            with self.ask({"do": "status"}) as asked:
                return json.loads(asked.makefile().readline())
        except (OSError, json.JSONDecodeError):
            return None

    def start_gateway(self):
        self.start("gateway", "gateway", "run", "--config", self.gateway_config)

    def ready(self):
        """How the seal is as soon as it can be used: it has read its journal, settled what it owed, and heard."""
        def is_ready():
            look = self.look()
            is_it = look and look["journal"] and look["time_known"] and not look["receipt_owed"] and look["ready"]
            return look if is_it else None
        return until("the seal can be used", is_ready, self.patience_s)

    def spent(self, look):
        """Uses that are spent, by grant, as the journal has it. A grant that is not held any more was used up."""
        left = {grant["grant"]: grant["left"] for grant in look["grants"]}
        return {grant: self.uses - left.get(grant, 0) for grant in self.grants}

    def counter(self):
        return int((self.box() / "seal.counter").read_text().split()[3])

    # The person.

    def is_open(self):
        return (self.world / "open").exists()

    def press(self, times=1):
        """Strokes that were made."""
        before = self.strokes()
        self.hand("press", *["twice"] * (times - 1))
        return self.strokes() - before

    def attempt(self, plan, grant, presses, moment):
        """Asks for a use, presses so often as soon as it opens, and kills the gateway when `moment` says so, which is
        asked with this attempt and the time."""
        this = Attempt(grant, plan, time.monotonic())
        self.attempts.append(this)
        asked = self.ask({"do": "stamp", "grant": grant, "shown": f"card {CARD}"})
        with asked:
            while time.monotonic() < this.began + ANSWER_S:
                if this.opened is None and self.is_open():
                    this.opened = time.monotonic()
                if this.opened and not this.pressed and presses:
                    self.is_about_to_press(this)
                    this.strokes, this.pressed = self.press(presses), time.monotonic()
                if select.select([asked], [], [], 0)[0]:
                    line = asked.makefile().readline()
                    this.answer = json.loads(line) if line else None
                    this.ended = time.monotonic()
                    asked.close()
                    break
                if moment(this, time.monotonic()):
                    break
                time.sleep(LOOK_S)
        return this

    def is_about_to_press(self, attempt):
        """For whoever wants to note it."""

    def kill(self, attempt, how=signal.SIGKILL):
        attempt.photographing = self.table.is_looking
        self.stop("gateway", how)
        attempt.ended, attempt.killed = time.monotonic(), how == signal.SIGKILL
        attempt.counter = self.counter()
        attempt.is_open_at_end = self.is_open()

    def settle(self, attempt, before):
        """What the journal says of an attempt; `before` is what it said before it."""
        look = self.ready()
        after = self.spent(look)
        self.probe()
        uses = sum(after.values())
        if not look["counter"] == look["remembered"] == uses:
            self.wrong.append(f"{uses} uses are spent, {look['remembered']} remembered, the counter shows {look['counter']}")
        # It moves after a use is spent, never before.
        if attempt.counter not in (None, uses, uses - 1):
            self.wrong.append(f"{attempt}: killed, the counter showed {attempt.counter}, {uses} uses are spent")
        for grant in self.grants:
            more = after[grant] - before.get(grant, 0)
            mine = grant == attempt.grant
            if more not in ((0, 1) if mine else (0,)):
                self.wrong.append(f"{attempt}: {more} uses of {grant} were spent")
        if after[attempt.grant] > before[attempt.grant]:
            attempt.number = after[attempt.grant]
        strokes = attempt.strokes + attempt.later
        if (strokes or attempt.opened) and attempt.number is None:
            self.wrong.append(f"{attempt}: it opened, strokes: {strokes}, and no use is spent")

    def probe(self):
        """Nobody has asked for anything: a person who presses finds it closed."""
        strokes = self.press()
        if strokes:
            self.wrong.append(f"it is open though nobody asked: {strokes} strokes")

    # At the end.

    def judge(self):
        """Everything against everything: strokes, journal, receipts, findings, the audit."""
        wrong, spent = self.wrong, self.spent(self.ready())
        until("all receipts have come", lambda: max(
            (receipt["number"] for receipt in self.receipts()), default=0) >= self.look()["receipts"])
        timeline = self.timeline()
        receipts = timeline["receipts"]
        numbers = sorted(receipt["number"] for receipt in receipts)
        if numbers != list(range(1, self.look()["receipts"] + 1)):
            wrong.append(f"receipts with gaps or twins: {numbers}")
        uses = collections.defaultdict(list)
        for receipt in receipts:
            if receipt["use_number"]:
                uses[receipt["grant"], receipt["use_number"]].append(receipt)
        known = {(attempt.grant, attempt.number): attempt for attempt in self.attempts if attempt.number}
        expected = {(grant, number) for grant in self.grants for number in range(1, spent[grant] + 1)}
        for name, found in (("receipts", set(uses)), ("attempts", set(known))):
            if found != expected:
                wrong.append(f"uses that are spent and have no {name}, or the other way round: {found ^ expected}")
        for use, found in uses.items():
            attempt = known.get(use)
            if len(found) != 1 or attempt is None:
                wrong.append(f"{use} has {len(found)} receipts, {attempt}")
            elif not tells_the_truth(found[0]["outcome"], attempt):
                wrong.append(f"{use} is said to be {found[0]['outcome']}: {attempt}")
        for grant in self.grants:
            opened = [attempt for attempt in self.attempts if attempt.grant == grant and attempt.opened]
            if not len(opened) <= spent[grant] <= self.uses:
                wrong.append(f"{grant} opened {len(opened)} times, {spent[grant]} of {self.uses} uses are spent")
        strokes = sum(attempt.strokes + attempt.later for attempt in self.attempts)
        if strokes != self.strokes():
            wrong.append(f"the world has seen {self.strokes()} strokes, the person made {strokes}")
        # A photograph lies in the same write as what it shows.
        pictures = {receipt[which] for found in uses.values() for receipt in found for which in ("before", "after")} - {None}
        until("all photographs have come", lambda: all(map(self.has_picture, pictures)))
        # What the office found, and what a stranger finds, is what was done, and nothing else.
        outcomes = collections.Counter(found[0]["outcome"] for found in uses.values())
        due = {word: outcomes[word] for word in ("unknown", "pressed_again") if outcomes[word]}
        findings = dict(collections.Counter(finding["word"] for finding in timeline["findings"]))
        if findings != due:
            wrong.append(f"findings {findings}, due {due}")
        wanted = f"receipt {len(receipts)}"
        audit = until("the audit has seen all", lambda: next(
            (said for said in [self.audit(ok=(0, 65)).stdout] if wanted in said), None))
        remarks = [line for line in audit.splitlines() if line.startswith("✗")]
        if len(remarks) != sum(due.values()):
            wrong.append(f"the audit remarks {remarks}, due {due}")
        return outcomes

    def has_picture(self, digest):
        try:
            return bool(self.people["auditor"].ask("GET", f"/api/v1/pictures/{digest}"))
        except Refused:
            return False


def tells_the_truth(outcome, attempt):
    strokes = attempt.strokes + attempt.later
    return {
        "stamped": strokes == 1,
        "pressed_again": strokes > 1,
        "not_pressed": strokes == 0,
        # Only somebody who was killed may not know.
        "unknown": attempt.killed,
    }.get(outcome, False)


def copied(programs, folder):
    """Copies: a build meanwhile must not change what is tested."""
    copies = folder / "programs"
    (copies / "examples").mkdir(parents=True)
    for name in ("gateway", "ingest", "examples/hand"):
        shutil.copy2(programs / name, copies / name)
    return copies
