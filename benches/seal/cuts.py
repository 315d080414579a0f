#!/usr/bin/env python3
"""Cuts the power of a seal at any moment, and goes on stamping on what is left until it is refused.

  python benches/seal/cuts.py PROGRAMS [--recordings N] [--cuts M] [--seed S] [--folder F] [--without CALLS]

1. The gateway's data folder, its seal's notes and its counter among it, lies on a disk that is recorded as `benches/power/city`
   does it: every write and every flush. The gateway hears its authority and holds grants, then ingest and the witness stop:
   from here on nobody outside the disk knows anything, except the paper. Each opening and each stroke is noted on the disk
   before the stroke is made, past all caches and without a flush; so is each answer of the desk. At last the gateway is killed
   in the middle of a use and starts again.
2. The recording is cut anywhere after that. On each image the real gateway starts, the spring has closed the lock, and ingest
   is as it was when it stopped. What had opened before the cut must be spent; what was answered must have its outcome; memory
   and counter agree; each grant is used until it is refused, and all strokes together, those before the cut and those after
   it, are no more than was granted. Receipts, findings and audit are compared as in kills.py.

With --without the recorded gateway runs with calls that do nothing, `fsync,fdatasync` or one of them, and this must find
strokes that are not spent.
PROGRAMS holds gateway, ingest, power and examples/hand. Needs root for loop mounts, and FUSE.
"""

import argparse
import collections
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from uses import Attempt, Progress, Seal
from village import until

USES, GRANTS = 4, 4
# Uses that are made while the disk is recorded; the others are left for after the cut.
RECORDED = 12
# How long a seal may take that has lost what it remembers, where that is what is looked for.
REFUSES_S = 15
FS_MIB, DISK_MIB = 48, 49
NOTE_BYTES = 512


class Disk:
    """A disk that is recorded, and mounted."""

    def __init__(self, folder):
        self.folder, self.mount, self.loop, self.recorder = folder, folder / "mounted", None, None
        self.log, self.base = folder / "log", folder / "base"
        self.mount.mkdir(parents=True)
        with open(self.base, "wb") as file:
            file.truncate(DISK_MIB << 20)
        run("mke2fs", "-q", "-t", "ext4", "-F", self.base, f"{FS_MIB}M")

    def record(self):
        disk, recorded = self.folder / "disk", self.folder / "recorded"
        run("cp", "--sparse=always", self.base, disk)
        with open(self.log, "wb") as file:
            file.truncate(8 << 30)
        recorded.touch()
        self.recorder = subprocess.Popen([
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,filename={disk},node-name=disk",
            "--blockdev", f"driver=file,filename={self.log},node-name=log",
            "--blockdev", "driver=blklogwrites,node-name=cut,file=disk,log=log,log-sector-size=512,log-super-update-interval=1",
            "--export", f"type=fuse,id=cut,node-name=cut,mountpoint={recorded},writable=on"])
        until("the disk is recorded", lambda: recorded.stat().st_size)
        self.notes = os.open(recorded, os.O_WRONLY)
        self.loop = run("losetup", "-f", "--show", recorded).strip()
        run("mount", "-t", "ext4", self.loop, self.mount)

    def note(self, text):
        assert os.pwrite(self.notes, text.encode().ljust(NOTE_BYTES, b"\0"), FS_MIB << 20) == NOTE_BYTES

    def let_go(self):
        if self.recorder:
            os.close(self.notes)
            subprocess.run(["umount", self.mount], check=False)
            if self.loop:
                subprocess.run(["losetup", "-d", self.loop], check=False)
            self.recorder.send_signal(signal.SIGTERM)
            self.recorder.wait(60)
            self.recorder = None
            (self.folder / "disk").unlink()


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


class Recorded(Seal):
    """A village whose gateway lives on a recorded disk."""

    def __init__(self, folder, programs, chance):
        super().__init__(folder, programs, chance, USES, stamps=USES * GRANTS)
        self.disk = Disk(folder / "disk")
        self.place(self.disk.mount)
        # Whether a cut has added a use to what was granted.
        self.is_added = False

    def place(self, mount):
        """The gateway's data folder lies there."""
        box = self.folder / "box"
        box.unlink(missing_ok=True)
        box.symlink_to(mount / "box")

    def is_about_to_press(self, attempt):
        # Known a moment before anybody presses: a stroke that is counted too early is no excuse.
        if self.disk.recorder:
            self.disk.note(f"opened {len(self.attempts) - 1}")

    def record(self, without):
        if without:
            self.environment["gateway"] = {"LD_PRELOAD": str(no_syncs(self.folder, without))}
        self.disk.record()
        (self.disk.mount / "box").mkdir()
        self.begin()
        self.more_grants(GRANTS)
        until("all has been sent", lambda: not self.look()["receipt_owed"] and self.look()["online"])
        for name in ("ingest", "witness"):
            self.stop(name)
            self.keep(name)
        (self.folder / "alone").touch()
        self.disk.note("alone")
        spent = self.spent(self.look())
        for number in range(RECORDED):
            grant = self.random.choice([grant for grant in self.grants if spent[grant] < USES])
            self.disk.note(f"asked {number}")
            until_s = self.random.uniform(0, 0.4) if number == RECORDED - 1 else None
            presses = self.random.choice((1, 1, 1, 2))
            this = self.attempt("recorded", grant, presses, lambda this, now: until_s and now > this.began + until_s)
            if this.answer:
                self.disk.note(f"answered {number} {this.answer.get('outcome')}")
            else:
                self.kill(this)
                self.start_gateway()
                until("it has settled what it owed", lambda: (look := self.look()) and look["journal"])
                time.sleep(0.3)
            spent_now = self.spent(self.look())
            this.number = spent_now[grant] if spent_now[grant] > spent[grant] else None
            spent = spent_now
        self.disk.note("end")
        self.stop("gateway", signal.SIGKILL)
        self.disk.let_go()
        self.environment.clear()
        if without:
            self.patience_s = REFUSES_S
        self.all = self.attempts
        told = run(self.programs / "power", "notes", self.disk.log, "--place", FS_MIB << 20)
        entries = [line.split(" ", 2) for line in told.splitlines()]
        self.notes = [(int(entry), *rest[1:]) for entry, *rest in entries if rest[0] == "note"]
        self.flushes = [int(entry) for entry, kind, *_ in entries if kind == "flush"]
        alone = next(entry for entry, note in self.notes if note == "alone")
        end = next(entry for entry, note in self.notes if note == "end")
        self.range = alone + 1, end

    def keep(self, name):
        """What ingest, or the witness, had when it stopped."""
        name = {"ingest": "city"}.get(name, name)
        shutil.copytree(self.folder / name, self.folder / "kept" / name)

    def bring_back(self):
        for name in ("city", "witness"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.folder / "kept" / name, self.folder / name)

    def cut(self, chance):
        """A moment: anywhere, around a flush, or around a note; and what becomes of the writes before it."""
        first, end = self.range
        kind = chance.choice(("flush", "flush", "note", "any"))
        if kind == "flush":  # most of what can be lost lies before it
            at = chance.choice([entry for entry in self.flushes if first <= entry < end]) + chance.choice((0, 0, 1))
        elif kind == "note":
            at = chance.choice([entry for entry, _ in self.notes if first <= entry < end]) + chance.choice((0, 1, 2))
        else:
            at = chance.randint(first, end)
        fates = [(0.5, False), (0.5, True), (1.0, False), (1.0, False), (0.0, False), (0.1, True), (0.9, False)]
        loss, tear = chance.choice(fates)
        return min(at, end), loss, tear, chance.getrandbits(32)

    def after(self, cut):
        """Starts all on what a cut left, and judges; how many writes were lost."""
        at, loss, tear, seed = cut
        image, mount = self.folder / "image", self.folder / "cut"
        lost = int(run(self.programs / "power", "image", self.disk.log, self.disk.base, image, "--at", at, "--loss", loss,
                       "--seed", seed, *["--tear"] * tear))
        mount.mkdir(exist_ok=True)
        self.wrong = []
        self.remember(at)
        strokes = sum(this.strokes for this in self.attempts)
        run("mount", "-t", "ext4", "-o", "loop", image, mount)
        try:
            self.place(mount)
            self.bring_back()
            self.hand("power-off")
            (self.world / "strokes").write_text("".join(f"{n}\n" for n in range(1, strokes + 1)))
            self.start_witness()
            self.start_ingest()
            self.start_gateway()
            self.go_on()
        except (AssertionError, OSError) as error:
            self.wrong.append(str(error))
        finally:
            for name in list(self.running):
                self.stop(name, signal.SIGKILL)
            run("umount", mount)
        return lost

    def remember(self, at):
        """The attempts as far as they had come at a cut."""
        self.attempts = []
        for _, note in ((entry, note) for entry, note in self.notes if entry < at):
            word, *rest = note.split()
            if word == "asked":
                there = self.all[int(rest[0])]
                self.attempts.append(Attempt(there.grant, "recorded", killed=True))
            elif word == "opened":
                # The stroke may have been made: it counts.
                this, there = self.attempts[-1], self.all[int(rest[0])]
                this.opened, this.strokes = there.opened, there.strokes
            elif word == "answered":
                self.attempts[-1].killed = False

    def adds(self, line):
        """The cut has added a use, or forgotten one."""
        self.wrong.append(line)
        self.is_added = True

    def go_on(self):
        look = self.ready()
        spent = self.spent(look)
        if look["counter"] != look["remembered"]:
            self.wrong.append(f"the counter shows {look['counter']}, remembered {look['remembered']}")
        count = collections.Counter()
        for index, this in enumerate(self.attempts):
            is_last = index == len(self.attempts) - 1
            count[this.grant] += 1
            if spent[this.grant] >= count[this.grant]:
                this.number = count[this.grant]
            elif not is_last:
                self.adds(f"use {count[this.grant]} of {this.grant} had ended, {spent[this.grant]} are spent")
            elif this.opened:
                self.adds(f"{this}: it opened, and no use is spent; {spent[this.grant]} are")
            else:
                count[this.grant] -= 1
        if any(spent[grant] > count[grant] for grant in self.grants):
            self.wrong.append(f"more is spent than was asked for: {spent}, {dict(count)}")
        for grant in self.grants:
            for _ in range(2 * USES):
                spent = self.spent(self.ready())
                this = self.attempt("after", grant, 1, lambda *_: False)
                if this.answer and "refused" in this.answer:
                    self.attempts.pop()
                    break
                self.settle(this, spent)
            opened = sum(1 for this in self.attempts if this.grant == grant and this.opened)
            strokes = sum(min(1, this.strokes) for this in self.attempts if this.grant == grant)
            if opened > USES or strokes > USES:
                self.adds(f"{grant}: opened {opened} times, {strokes} strokes, granted {USES}")
            if self.spent(self.look())[grant] != USES:
                self.wrong.append(f"{grant}: refused before it was used up")
        self.outcomes += self.judge()


def no_syncs(folder, calls):
    """The program that ships, with calls that only say they have been made."""
    library = folder / "without.so"
    # From the moment on when it is alone: what was set up before is there.
    does = f'{{ return access("{folder}/alone", F_OK) ? (int)syscall(SYS_%s, file) : 0; }}'
    source = "#include <sys/syscall.h>\n#include <unistd.h>\n"
    source += "".join(f"int {call}(int file) {does % call}\n" for call in calls.split(","))
    subprocess.run(["gcc", "-shared", "-fPIC", "-O", "-x", "c", "-o", library, "-"], input=source, text=True, check=True)
    return library


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("programs", type=pathlib.Path)
    arguments.add_argument("--recordings", type=int, default=4)
    arguments.add_argument("--cuts", type=int, default=40, help="of each recording")
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--folder", type=pathlib.Path)
    arguments.add_argument("--without", metavar="CALLS")
    given = arguments.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = given.folder or pathlib.Path(tempfile.mkdtemp(dir=memory))
    cuts = failed = 0
    good = added = False
    progress = Progress("cuts", given.recordings * given.cuts)
    try:
        for number in range(1, given.recordings + 1):
            seed = given.seed + number
            village = Recorded(work / str(number), given.programs.resolve(), random.Random(seed))
            shutil.copy2(given.programs / "power", village.programs / "power")
            village.outcomes = collections.Counter()
            try:
                village.record(given.without)
                first, end = village.range
                flushes = sum(first <= entry < end for entry in village.flushes)
                print(f"recording {number}: {RECORDED} uses, {end - first} entries and {flushes} flushes while it was alone",
                      flush=True)
                lost_writes = 0
                for case in range(given.cuts):
                    cut = village.cut(random.Random(f"{seed}/{case}"))
                    lost = village.after(cut)
                    cuts, lost_writes = cuts + 1, lost_writes + lost
                    if village.wrong:
                        failed += 1
                        print(f"FAIL recording {number}, cut {cut}: " + "; ".join(village.wrong), flush=True)
                    progress.is_done(1, failed)
                    added = added or village.is_added
                    if given.without and added:
                        break
                print(f"  {lost_writes} writes lost; uses ended, over all cuts: {dict(village.outcomes)}", flush=True)
            finally:
                village.close()
                village.disk.let_go()
            if given.without and added:
                break
        print(f"{cuts} cuts of {number} recordings, {progress.each_s():.1f} s each, seed {given.seed}: {failed} failed", flush=True)
        good = not failed
        if given.without:
            good = added
            print("the rig can fail" if good else "FAIL: without a sync no use was added: this rig shows nothing")
    finally:
        if good and not given.folder:
            shutil.rmtree(work)
        elif not good:
            print(f"failed; what there is lies in {work}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
