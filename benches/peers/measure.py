"""What the kernel says about a server and its children: processor time, memory, disk, and what it forces to disk."""

import glob
import os
import signal
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
KIB = 1024
# How often memory is looked at, in seconds: a shorter peak is not seen.
EVERY = 0.2
# A server has settled when it took less than this share of a core for CALM seconds; longer than PATIENCE nobody waits.
QUIET, CALM, PATIENCE = 0.05, 4, 30
# Calls that force something to disk. What is opened with O_SYNC or O_DSYNC needs none of them: see `opened_synced`.
FORCING = "fsync,fdatasync,sync_file_range,msync,syncfs,sync"
O_SYNC = os.O_SYNC | os.O_DSYNC


def family(pid):
    """A process and all below it."""
    found, to_see = [], [pid]
    while to_see:
        pid = to_see.pop()
        found.append(pid)
        for path in glob.glob(f"/proc/{pid}/task/*/children"):
            try:
                with open(path) as text:
                    to_see += map(int, text.read().split())
            except OSError:
                pass
    return found


def processor_s(pid):
    """Processor time of a process, of those below it, and of those it has buried, in seconds."""
    ticks = 0
    for member in family(pid):
        try:
            with open(f"/proc/{member}/stat") as text:
                ticks += sum(map(int, text.read().rsplit(")", 1)[1].split()[11:15]))
        except OSError:
            pass
    return ticks / TICK


def memory_bytes(pid):
    """What a process and those below it hold in RAM; what they share counts once."""
    own, shared = 0, 0
    for member in family(pid):
        try:
            with open(f"/proc/{member}/status") as text:
                held = {line.split(":")[0]: int(line.split()[1]) for line in text if line.startswith("Rss")}
        except OSError:
            continue
        own += (held.get("RssAnon", 0) + held.get("RssFile", 0)) * KIB
        shared = max(shared, held.get("RssShmem", 0) * KIB)
    return own + shared


def disk_bytes(folder):
    """What a folder takes on disk, by blocks."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except OSError:
                pass
    return total


def opened_synced(pid):
    """Whether a regular file is open whose every write is forced to disk."""
    for member in family(pid):
        for path in glob.glob(f"/proc/{member}/fd/*"):
            try:
                with open(path.replace("/fd/", "/fdinfo/")) as text:
                    flags = next(int(line.split()[1], 8) for line in text if line.startswith("flags:"))
                if flags & O_SYNC and os.path.isfile(path):
                    return True
            except (OSError, StopIteration):
                pass
    return False


def settle(pid, least=0):
    """Waits `least` seconds, and then until a server has nothing left to do, or for PATIENCE."""
    time.sleep(least)
    end, calm, before = time.monotonic() + PATIENCE, 0, processor_s(pid)
    while time.monotonic() < end and calm < CALM:
        time.sleep(1)
        now = processor_s(pid)
        calm = calm + 1 if now - before < QUIET else 0
        before = now


class Peak(threading.Thread):
    """Most memory a server was seen to hold."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.bytes, self.ends = pid, 0, threading.Event()

    def run(self):
        while not self.ends.wait(EVERY):
            self.bytes = max(self.bytes, memory_bytes(self.pid))

    def stop(self):
        self.ends.set()
        self.join()
        return self.bytes


class Forced:
    """Counts with strace how often a server forces something to disk."""

    def __init__(self, pid, log):
        self.log = log
        pids = [argument for member in family(pid) for argument in ("-p", str(member))]
        self.child = subprocess.Popen(
            ["strace", "-f", "-c", "-e", f"trace={FORCING}", "-o", log] + pids, stderr=subprocess.DEVNULL
        )
        # It says nothing when it has attached to all threads.
        time.sleep(1)

    def stop(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait()
        counts = {}
        with open(self.log) as text:
            for line in text:
                fields = line.split()
                if len(fields) >= 5 and fields[-1] in FORCING.split(","):
                    counts[fields[-1]] = int(fields[3])
        return sum(counts.values())
