#!/usr/bin/env python3
"""The threats of the design, T1 to T14, each tried against the real programs. Prints a table; any that gets through fails.

  python benches/seal/threats.py PROGRAMS [FOLDER]

Two villages at once: in one people and devices do what they should not; the other has somebody at the server (`insider.py`), on
the line (`between.py`), and at the clock (`clocks.py`).
"""

import contextlib
import hashlib
import pathlib
import shutil
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from between import t11_between, t11_late, t11_up
from clocks import t3_no_clock, t3_set_back
from insider import t8_insider, t9_a_leaf
from village import DOCUMENT, DURESS, Refused, Village, lodging, until

ROWS = []
STAMPS_ALONE = 3


def row(threat, tried, happened):
    ROWS.append((threat, tried, happened))
    print(f"{threat:4} {tried}: {happened}", flush=True)


def refused(said, *words):
    assert not said["ok"] and said.get("refused") in words, said
    return said["refused"]


def t1_replay(village):
    grant = village.granted(copies=1)
    village.holds(grant)
    copy = village.carried(grant)
    village.stamps(grant)
    again = village.present(copy)
    assert again == "replayed", again
    village.restart()
    after = village.present(copy)
    assert after == "replayed", after
    yield "T1", "a used grant is brought again, and after a restart", f"{again}, {after}"


def t1_old_card(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    copy = village.carried(grant)
    village.stop("gateway")
    saved = village.folder / "old-card"
    shutil.copytree(village.folder / "box", saved, ignore=shutil.ignore_patterns("*.sock"))
    village.start_gateway()
    village.heard()
    village.line.cut()
    village.stamps(grant)
    village.stamps(grant)
    strokes = village.strokes()

    def old():
        counter = (village.folder / "box" / "seal.counter").read_bytes()
        shutil.rmtree(village.folder / "box")
        shutil.copytree(saved, village.folder / "box", ignore=shutil.ignore_patterns("*.sock"))
        # The counter is not on the card: that is its point.
        (village.folder / "box" / "seal.counter").write_bytes(counter)

    village.stop("gateway")
    old()
    village.start_gateway()
    said = village.stamp(grant, press=False)
    why = refused(said, "lease_hours", "rolled_back")
    village.line.mend()
    until("the office has found the old state", lambda: "old_state" in village.words())
    until("all old grants are over", lambda: village.present(copy) == "replayed")
    assert village.strokes() == strokes
    yield "T1", "an old copy of the card, the counter as it is", f"alone: {why}; in contact: old_state found, all grants over"


def t2_over_count(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    before = village.strokes()
    village.stamps(grant)
    village.stamps(grant)
    assert "closed" in village.hand("press")
    assert not village.stamp(grant)["ok"] and village.strokes() - before == 2
    yield "T2", "a third press of two; cuts at every step", "it stays closed; see kills.py and cuts.py"


def t4_t12_revoked_while_alone(village):
    grant = village.granted(copies=STAMPS_ALONE + 2)
    village.holds(grant)
    village.line.cut()
    village.people["operator"].ask("POST", f"/api/v1/applications/{grant}/revocation", {"why": "land was sold twice"})
    before, why = village.strokes(), None
    for _ in range(STAMPS_ALONE + 2):
        said = village.stamp(grant)
        if not said["ok"]:
            why = refused(said, "lease_stamps")
            break
    late = village.strokes() - before
    assert why and late <= STAMPS_ALONE, (why, late)
    assert not village.people["auditor"].ask("GET", "/api/v1/applications?state=open")
    village.line.mend()
    until("all receipts have come", lambda: village.words().count("after_revocation") == late)
    until("the revocation is heard", lambda: grant not in village.desk("status").stdout)
    yield "T4", f"revoked while alone, lease of {STAMPS_ALONE} stamps", \
        f"{late} stamps after it, then {why}; each found as after_revocation"
    yield "T12", "the uplink is blocked meanwhile", "every receipt came afterwards, in order"


def t5_hoarded(village):
    now_ms = int(time.time() * 1000)
    grant = village.granted(copies=1, not_before_ms=now_ms, expires_ms=now_ms + 9_000)
    copy = until("the grant has its proof", lambda: carried_or_none(village, grant))
    time.sleep(9)
    why = village.present(copy)
    assert why == "expired", why
    yield "T5", "a grant is kept back until it has expired", why


def carried_or_none(village, grant):
    try:
        return village.carried(grant)
    except Exception:  # not seen by the witness yet
        return None


def t6_stolen(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    copy = village.carried(grant)
    village.people["operator"].ask("POST", f"/api/v1/seals/{village.seal}/lock", {"locked": True})
    # Asked before it has heard, it would open, and nobody presses: that costs a use.
    until("it has heard of the lock", lambda: village.status()["locked"])
    assert village.present(copy) is None
    refused(village.stamp(grant, press=False), "locked")
    village.people["operator"].ask("POST", f"/api/v1/seals/{village.seal}/lock", {"locked": False})
    village.desk("ask")
    until("it is unlocked", lambda: village.stamp(grant)["ok"])
    village.hand("begin", "cover")
    until("tampering is found", lambda: "tampered" in village.words())
    village.hand("end", "cover")
    village.restart()
    why = until("it is locked for tampering", lambda: village.present(copy))
    seen = village.timeline()["seal"]["tampered_ever"]
    village.people["operator"].ask("POST", f"/api/v1/seals/{village.seal}/clear", {"tampered_ever": seen})
    fresh = village.granted(copies=1)
    village.holds(fresh)
    until("cleared, it works again", lambda: village.stamp(fresh)["ok"])
    secrets = [path.name for path in (village.folder / "box").rglob("*") if path.is_file() and any(
        word in path.name for word in ("issuer", "root", "approver"))]
    assert not secrets
    yield "T6", "locked from afar; the cover is opened, then a restart", f"locked; {why}, open grants are over; no issuing key on it"


def t7_cloned(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    village.stop("gateway")
    clone = village.folder / "clone"
    shutil.copytree(village.folder / "box", clone, ignore=shutil.ignore_patterns("*.sock"))
    village.start_gateway()
    village.heard()
    village.stamps(grant)
    until("the receipt is on record", lambda: village.timeline()["applications"][0]["used"] == 1)
    village.stop("gateway")
    # The whole of it was copied, the counter too: a file cannot know. The office does.
    shutil.rmtree(village.folder / "box")
    shutil.move(clone, village.folder / "box")
    before = len(village.words())
    village.start_gateway()
    found = until("the copy is found", lambda: (
        set(village.words()[: len(village.words()) - before]) & {"set_back", "twin", "old_state"}))
    yield "T7", "a copy of everything, run after the original", f"found with its first hellos: {', '.join(sorted(found))}; grants over"


def t8_stolen_key(village):
    """An approver's key is stolen after it has signed, and retired: it must not count."""
    grant = village.apply(copies=1)
    village.approve(grant, "county")
    village.people["county"].ask("DELETE", f"/api/v1/me/keys/{village.public('county')}")
    try:
        village.approve(grant, "clerk")
        raise AssertionError("granted with a retired key")
    except Refused as refused:
        assert refused.status == 409, refused
    yield "T8", "a key is retired between its signature and the grant", "no grant: the application has to be made again"


def t9_rewritten(village):
    copy = village.folder / "old-log"
    log = village.folder / "city" / "seals" / "log"
    village.stop("ingest")
    shutil.copytree(log, copy)
    village.start_ingest()
    grant = village.granted(copies=1)
    village.holds(grant)
    village.stamps(grant)
    until("the receipt is in the log", lambda: village.audit(ok=(0, 65)).stdout)
    village.stop("ingest")
    shutil.rmtree(log)
    shutil.copytree(copy, log)
    before = len(village.log("ingest"))
    village.start("ingest", "ingest", "serve", "--config", village.folder / "ingest.toml")
    until("the office sees that its log was set back", lambda: "it was set back to an older copy" in village.log("ingest")[before:])
    # The database is set back too: then it is the witness that has seen more.
    village.stop("ingest")
    database = village.folder / "city" / "registry.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM leaves WHERE log_index IS NOT NULL")
    before = len(village.log("ingest"))
    village.start_ingest()
    village.people["operator"].ask("POST", f"/api/v1/seals/{village.seal}/lock", {"locked": False})
    until("the witness has seen another log", lambda: "a witness does not cosign" in village.log("ingest")[before:])
    village.stop("ingest")
    yield ("T9", "the log is set back; the database too",
           "the office refuses; the witness does not cosign, so no seal takes anything")
    journal = log / "journal"
    altered = bytearray(journal.read_bytes())
    altered[200] ^= 1
    journal.write_bytes(altered)
    before = len(village.log("ingest"))
    village.start("ingest", "ingest", "serve", "--config", village.folder / "ingest.toml")
    until("the office sees that its log was altered", lambda: "the journal cannot be read" in village.log("ingest")[before:])
    yield "T9", "a bit of the log is altered on the server's disk", "the office does not go on with it"


def t10_second_press(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    before = village.words().count("pressed_again")
    said = village.stamp(grant, hand=("press", "twice"))
    assert said["outcome"] == "pressed_again", said
    until("it is found", lambda: village.words().count("pressed_again") == before + 1)
    village.stamps(grant)
    receipt = village.receipts("stamped")[0]
    assert receipt["before"] and receipt["after"] and receipt["before"] != receipt["after"]
    yield "T10", "two presses in one opening", "pressed_again is found"
    # Whoever has the stamped paper asks which document was to be stamped.
    said = until("the witness has seen it", lambda: (
        done.stdout if (done := village.verify(receipt["digest"], ok=(0, 65))).returncode == 0 else None))
    page, other = (hashlib.sha256(text).hexdigest() for text in (DOCUMENT, DOCUMENT + b", and the land"))
    assert page in said and other not in said, said
    swapped = village.folder / "other-page.txt"
    swapped.write_bytes(DOCUMENT + b", and the land")
    assert village.verify(swapped, ok=(65,)).returncode == 65
    yield ("T10", "another page is laid under the seal", "`ingest seal verify` names the page that was granted, another is covered by "
           "nothing; both photographs are in the receipt; in Chromium: story.py")


def t13_forged(village):
    other = village.folder / "forged.jpg"
    other.write_bytes(b"\xff\xd8 rubber \xff\xd9")
    assert village.verify(other, ok=(65,)).returncode == 65
    yield "T13", "an impression by another seal", "nothing covers it: `ingest seal verify` says so to anybody"


def t14_made_to(village):
    grant = village.granted(copies=1)
    village.holds(grant)
    village.stamps(grant, person=f"pin {DURESS}")
    until("it is found", lambda: "duress" in village.words())
    yield "T14", "somebody is made to stamp and types the other PIN", "it stamps, and the office finds duress"


def attempts(folder, programs, all_of, **how):
    """Tries one after the other in a village of their own."""
    with Village(folder, programs, **how) as village:
        village.begin()
        for tried in all_of:
            for threat in tried(village):
                row(*threat)


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    by_hand = (t1_replay, t1_old_card, t2_over_count, t4_t12_revoked_while_alone, t5_hoarded, t6_stolen, t7_cloned,
               t10_second_press, t13_forged, t14_made_to, t8_stolen_key, t9_a_leaf, t9_rewritten)
    elsewhere = (t8_insider, t3_set_back, t3_no_clock, t11_between, t11_late, t11_up)
    with lodging(sys.argv[2:]) as folder, ThreadPoolExecutor() as both:
        for done in [both.submit(attempts, folder / "one", programs, by_hand, stamps=STAMPS_ALONE, most_uses=9),
                     both.submit(attempts, folder / "two", programs, elsewhere, answer="10s", hello="1min")]:
            done.result()
    missing = {f"T{number}" for number in range(1, 15)} - {threat for threat, _, _ in ROWS}
    assert not missing, missing
    print(f"14 threats in {len(ROWS)} attempts, none got through")


if __name__ == "__main__":
    main()
