#!/usr/bin/env python3
"""Kills a gateway at every step of a stamping, and counts: strokes, uses that are spent, receipts.

  python benches/seal/kills.py PROGRAMS [--kills N] [--seed S] [--folder F] [--opens-first GATEWAY]

Ingest with its office, a witness, and the real gateway with a seal in a folder; grants of several uses each. The disk is made
slow by a library in front of the C library, and the camera looks at a pipe, so that each step takes long enough to be killed
in. After a kill either the power is gone and the spring closes the lock, or the lock stays as it is until the next start, as
pins do, and somebody presses. After each start the journal must know of the use if it opened; at the end each use that is
spent has one receipt that says what happened, and neither office nor audit finds anything else.

With --opens-first this must find strokes that nobody spent a use for: a gateway that opens before it journals.
"""

import argparse
import collections
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from uses import Seal

# Uses of a grant: several, so that one too many would show.
USES = 6
# Grants that are held at once.
HELD = 3
# Most µs that a sync of the disk takes longer, before and after.
SYNC_US = 15_000
# How often what goes on ends as it should: to know how long the steps take, and that it still works.
PLANS = ["before"] * 4 + ["open"] * 2 + ["pressed"] * 3 + ["twice", "blocked", "stop", "well"]


class Kills(Seal):
    def __init__(self, folder, programs, chance):
        super().__init__(folder, programs, chance, USES)
        # Seconds until it opened, and from a press to the answer, in the last use that ended well.
        self.to_open_s, self.to_answer_s = 0.3, 0.3

    def one(self, plan, grant):
        """One use, and how it is disturbed."""
        chance = self.random
        # Seconds after what each plan waits for: the question, the opening, or the press.
        until_s = {
            "before": chance.uniform(0, 1.1 * self.to_open_s),
            "open": chance.choice((0, chance.uniform(0, 0.05))),
            "stop": chance.uniform(0, 0.05),
            "pressed": chance.uniform(0, self.to_answer_s),
            "twice": chance.uniform(0, self.to_answer_s),
            "blocked": chance.uniform(0, 0.2),
        }.get(plan)

        def moment(this, now):
            since = {"before": this.began, "open": this.opened, "stop": this.opened}.get(plan, this.pressed)
            return until_s is not None and since is not None and now >= since + until_s

        before = self.spent(self.ready())
        presses = {"open": 0, "before": 0, "stop": 0, "twice": 2}.get(plan, 1)
        this = self.attempt(plan, grant, presses, moment)
        if plan == "well" and this.answer and this.answer["ok"]:
            self.to_open_s, self.to_answer_s = this.opened - this.began, this.ended - this.pressed
        if plan == "stop":
            self.kill(this, signal.SIGTERM)
        elif plan != "well":
            self.kill(this)
            self.afterwards(this)
        if plan != "well":
            self.start_gateway()
        self.settle(this, before)
        return this

    def is_about_to_press(self, this):
        if this.plan == "blocked":
            self.hand("begin", "jam")

    def afterwards(self, this):
        """Nobody holds the lock any more: the power is gone as well, or it is as it was."""
        if self.random.random() < 0.3:
            self.hand("power-off")
        else:
            this.later = sum(self.press() for _ in range(self.random.choice((0, 1, 1, 2))))
        self.hand("end", "jam")

    def step(self, this, outcome):
        """Where it was killed, as far as that is known from what was durable, and from what was seen."""
        if this.plan == "well":
            return "(left alone)"
        if this.number is None:
            return "1 photographing before" if this.photographing else "1 deciding, journal not written"
        if this.plan == "stop":
            return "4 open, stopped in order"
        if this.answer:
            return "9 after the answer"
        if this.is_open_at_end:
            return "5 pressed, not closed" if this.strokes else "4 open, not pressed"
        if this.pressed is None:
            uses = sum(1 for before in self.attempts[: self.attempts.index(this) + 1] if before.number)
            return "3 spent, counted, not open" if this.counter == uses else "2 spent, not counted"
        if this.photographing:
            return "6 closed, photographing after"
        return "7 closed, end not journaled" if outcome == "unknown" else "8 end journaled, not answered"

    def unspent(self):
        """Strokes that no use was spent for."""
        return sum(this.strokes + this.later for this in self.attempts if this.number is None)

    def table_of(self, spent):
        rows = collections.defaultdict(collections.Counter)
        said = {(receipt["grant"], receipt["use_number"]): receipt["outcome"] for receipt in self.receipts()}
        outcomes = collections.Counter(outcome for (_, use), outcome in said.items() if use)
        for this in self.attempts:
            outcome = said.get((this.grant, this.number), "")
            row = rows[self.step(this, outcome)]
            row["times"] += 1
            row["strokes"] += this.strokes + this.later
            row["spent"] += this.number is not None
            row[outcome] += 1
        columns = ["times", "spent", "stamped", "pressed_again", "not_pressed", "unknown", "strokes"]
        print(f"{'killed at':34}" + "".join(f"{column:>14}" for column in columns))
        for name in sorted(rows):
            print(f"{name:34}" + "".join(f"{rows[name][column]:14}" for column in columns))
        all_spent, strokes = sum(spent.values()), self.strokes()
        doubles = sum(max(0, this.strokes + this.later - 1) for this in self.attempts)
        print(f"uses granted {USES * len(self.grants)}, spent {all_spent}, stamped {outcomes['stamped']}, "
              f"lost {all_spent - outcomes['stamped'] - outcomes['pressed_again']} (of them unknown {outcomes['unknown']}), "
              f"strokes {strokes}")
        print(f"pressed again in one opening {doubles}, which the rig did; openings with a stroke {strokes - doubles} "
              f"of {all_spent} spent; strokes that no use was spent for {self.unspent()}", flush=True)


def slow_disk(folder):
    library = folder / "slow.so"
    source = pathlib.Path(__file__).with_name("slow.c")
    subprocess.run(["gcc", "-O", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "WATCHFIRE_SYNC_US": str(SYNC_US)}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("programs", type=pathlib.Path)
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--folder", type=pathlib.Path)
    arguments.add_argument("--opens-first", type=pathlib.Path)
    given = arguments.parse_args()
    folder = given.folder or pathlib.Path(tempfile.mkdtemp())
    village = Kills(folder, given.programs.resolve(), random.Random(given.seed))
    good = False
    try:
        if given.opens_first:
            shutil.copy2(given.opens_first, village.programs / "gateway")
        village.environment["gateway"] = slow_disk(folder)
        village.begin()
        kills, began = 0, time.monotonic()
        village.one("well", fresh(village))
        for plan in plans(village.random):
            this = village.one(plan, fresh(village))
            kills += this.killed
            if this.killed and kills % 100 == 0:
                print(f"{kills} kills, {len(village.wrong)} failed", flush=True)
            if kills >= given.kills or (village.unspent() and given.opens_first):
                break
        village.judge()
        village.table_of(village.spent(village.ready()))
        for line in village.wrong:
            print(f"FAIL: {line}")
        print(f"{kills} kills in {time.monotonic() - began:.0f} s, seed {given.seed}: {len(village.wrong)} failed", flush=True)
        good = not village.wrong
        if given.opens_first:
            good = village.unspent() > 0
            print("the rig can fail" if good else "FAIL: a gateway that opens first was not found: this rig shows nothing")
    finally:
        village.close()
        if not good:
            print(f"failed; what there is lies in {folder}", file=sys.stderr)
        elif not given.folder:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


def plans(chance):
    """Each plan as often as it stands there, in any order, again and again."""
    while True:
        yield from chance.sample(PLANS, len(PLANS))


def fresh(village):
    """A grant with uses left."""
    left = [grant for grant, spent in village.spent(village.ready()).items() if spent < USES]
    if len(left) < HELD:
        village.more_grants(HELD - len(left))
        left = [grant for grant, spent in village.spent(village.ready()).items() if spent < USES]
    return village.random.choice(left)


if __name__ == "__main__":
    sys.exit(main())
