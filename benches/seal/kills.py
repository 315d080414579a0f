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

from uses import Progress, Seal

# Uses of a grant: several, so that one too many would show.
USES = 6
# Grants that are held at once.
HELD = 3
# Kills in one village: the office shows so many receipts of a seal, and no more.
ROUND = 100
# Most µs that a sync of the disk takes longer, before and after.
SYNC_US = 15_000
ALL = "all"
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

    def rows(self):
        """What was done and what came of it, by step."""
        rows = collections.defaultdict(collections.Counter)
        said = {(receipt["grant"], receipt["use_number"]): receipt["outcome"] for receipt in self.receipts()}
        for this in self.attempts:
            outcome, strokes = said.get((this.grant, this.number), ""), this.strokes + this.later
            rows[self.step(this, outcome)].update({
                "times": 1, "spent": this.number is not None, outcome: 1, "strokes": strokes, "again": max(0, strokes - 1)})
        rows[ALL] = sum(rows.values(), collections.Counter())
        rows[ALL]["granted"] = USES * len(self.grants)
        rows[ALL]["unspent"] = self.unspent()
        return rows


def print_table(rows):
    columns = ["times", "spent", "stamped", "pressed_again", "not_pressed", "unknown", "strokes"]
    print(f"{'killed at':34}" + "".join(f"{column:>14}" for column in columns))
    for name in sorted(rows):
        print(f"{name:34}" + "".join(f"{rows[name][column]:14}" for column in columns))
    everything = rows[ALL]
    spent, strokes, again = everything["spent"], everything["strokes"], everything["again"]
    lost = everything["not_pressed"] + everything["unknown"]
    print(f"uses granted {everything['granted']}, spent {spent}, lost {lost} (of them unknown {everything['unknown']}), "
          f"strokes {strokes}")
    print(f"pressed again in one opening {again}, which the rig did; openings with a stroke {strokes - again} of {spent} spent; "
          f"strokes that no use was spent for {everything['unspent']}", flush=True)


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
    work = given.folder or pathlib.Path(tempfile.mkdtemp())
    rows, kills, wrong = collections.defaultdict(collections.Counter), 0, []
    progress, good = Progress("kills", given.kills), False
    try:
        for number in range(-(-given.kills // ROUND)):
            village = Kills(work / str(number), given.programs.resolve(), random.Random(given.seed + number))
            try:
                kills += play(village, min(ROUND, given.kills - kills), given.opens_first, progress)
                for name, row in village.rows().items():
                    rows[name] += row
            finally:
                village.close()
                wrong += village.wrong
                for line in village.wrong:
                    print(f"FAIL seed {given.seed + number}: {line}", flush=True)
        print_table(rows)
        print(f"{kills} kills, {progress.each_s():.1f} s each, seed {given.seed}: {len(wrong)} failed", flush=True)
        good = not wrong
        if given.opens_first:
            good = rows[ALL]["unspent"] > 0
            print("the rig can fail" if good else "FAIL: a gateway that opens first was not found: this rig shows nothing")
    finally:
        if not good:
            print(f"failed; what there is lies in {work}", file=sys.stderr)
        elif not given.folder:
            shutil.rmtree(work, ignore_errors=True)
    return 0 if good else 1


def play(village, most, opens_first, progress):
    """So many kills in a village; one that opens first is let go as soon as it is found out."""
    if opens_first:
        shutil.copy2(opens_first, village.programs / "gateway")
    village.environment["gateway"] = slow_disk(village.folder)
    village.begin()
    village.one("well", fresh(village))
    kills = 0
    for plan in plans(village.random):
        killed = village.one(plan, fresh(village)).killed
        kills += killed
        progress.is_done(killed, len(village.wrong))
        if kills >= most or (village.unspent() and opens_first):
            break
    village.judge()
    return kills


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
