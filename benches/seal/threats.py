#!/usr/bin/env python3
"""The threats of the design, T1 to T14, each tried against the real programs. Prints a table; any that gets through fails.

  python benches/seal/threats.py PROGRAMS [FOLDER]

What only the inside of a program can try is tried by its own tests, which the table names.
"""

import contextlib
import json
import pathlib
import shutil
import sqlite3
import sys
import tempfile
import time

from village import CARD, DURESS, Refused, Village, until

ROWS = []
STAMPS_ALONE = 3


def row(threat, tried, happened):
    ROWS.append((threat, tried, happened))
    print(f"{threat:4} {tried}: {happened}", flush=True)


def refused(said, *words):
    assert not said["ok"] and said.get("refused") in words, said
    return said["refused"]


def present(village, copy):
    """Somebody brings a grant; the reason why it is refused, or nothing."""
    said = json.loads(village.desk("present", "--grant", copy, ok=(0, 2)).stdout)
    return said.get("refused")


def words(village):
    return [finding["word"] for finding in village.timeline()["findings"]]


def heard(village):
    """After a start nobody knows how long it was alone: it asks."""
    until("the seal was heard", lambda: village.status()["heard_s_ago"] is not None)


def restart(village):
    village.stop("gateway")
    village.start_gateway()
    heard(village)


def stamps(village, grant, person=f"card {CARD}"):
    said = village.stamp(grant, person=person)
    assert said["ok"], said
    return said


def t1_replay(village):
    grant = village.granted(copies=1)
    village.holds(grant)
    copy = village.carried(grant)
    stamps(village, grant)
    again = present(village, copy)
    assert again == "replayed", again
    restart(village)
    after = present(village, copy)
    assert after == "replayed", after
    row("T1", "a used grant is brought again, and after a restart", f"{again}, {after}")


def t1_old_card(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    copy = village.carried(grant)
    village.stop("gateway")
    saved = village.folder / "old-card"
    shutil.copytree(village.folder / "box", saved, ignore=shutil.ignore_patterns("*.sock"))
    village.start_gateway()
    heard(village)
    village.line.cut()
    stamps(village, grant)
    stamps(village, grant)
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
    until("the office has found the old state", lambda: "old_state" in words(village))
    until("all old grants are over", lambda: present(village, copy) == "replayed")
    assert village.strokes() == strokes
    row("T1", "an old copy of the card, the counter as it is", f"alone: {why}; in contact: old_state found, all grants over")


def t2_over_count(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    before = village.strokes()
    stamps(village, grant)
    stamps(village, grant)
    assert "closed" in village.hand("press")
    assert not village.stamp(grant)["ok"] and village.strokes() - before == 2
    row("T2", "a third press of two, and cuts at every step", "it stays closed; see kills.py")


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
    until("all receipts have come", lambda: words(village).count("after_revocation") == late)
    until("the revocation is heard", lambda: grant not in village.desk("status").stdout)
    row("T4", f"revoked while alone, lease of {STAMPS_ALONE} stamps", f"{late} stamps after it, then {why}; each found as after_revocation")
    row("T12", "the uplink is blocked meanwhile", "every receipt came afterwards, in order")


def t5_hoarded(village):
    now_ms = int(time.time() * 1000)
    grant = village.granted(copies=1, not_before_ms=now_ms, expires_ms=now_ms + 9_000)
    copy = until("the grant has its proof", lambda: carried_or_none(village, grant))
    time.sleep(9)
    why = present(village, copy)
    assert why == "expired", why
    row("T5", "a grant is kept back until it has expired", why)


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
    until("it has heard of the lock", lambda: present(village, copy) is None and
          village.stamp(grant, press=False).get("refused") == "locked")
    village.people["operator"].ask("POST", f"/api/v1/seals/{village.seal}/lock", {"locked": False})
    village.desk("ask")
    until("it is unlocked", lambda: village.stamp(grant)["ok"])
    village.hand("begin", "cover")
    until("tampering is found", lambda: "tampered" in words(village))
    village.hand("end", "cover")
    restart(village)
    why = until("it is locked for tampering", lambda: present(village, copy))
    village.people["operator"].ask("POST", f"/api/v1/seals/{village.seal}/clear")
    fresh = village.granted(copies=1)
    village.holds(fresh)
    until("cleared, it works again", lambda: village.stamp(fresh)["ok"])
    secrets = [path.name for path in (village.folder / "box").rglob("*") if path.is_file() and any(
        word in path.name for word in ("issuer", "root", "approver"))]
    assert not secrets
    row("T6", "locked from afar; the cover is opened, then a restart", f"locked; {why}, open grants are over; no issuing key on it")


def t7_cloned(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    village.stop("gateway")
    clone = village.folder / "clone"
    shutil.copytree(village.folder / "box", clone, ignore=shutil.ignore_patterns("*.sock"))
    village.start_gateway()
    heard(village)
    stamps(village, grant)
    until("the receipt is on record", lambda: village.timeline()["applications"][0]["used"] == 1)
    village.stop("gateway")
    # The whole of it was copied, the counter too: a file cannot know. The office does.
    shutil.rmtree(village.folder / "box")
    shutil.move(clone, village.folder / "box")
    before = len(words(village))
    village.start_gateway()
    found = until("the copy is found", lambda: (
        set(words(village)[: len(words(village)) - before]) & {"set_back", "twin", "old_state"}))
    row("T7", "a copy of everything, run after the original", f"found with its first hellos: {', '.join(sorted(found))}; grants over")


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
    row("T8", "a key is retired between its signature and the grant", "no grant: the application has to be made again")


def t9_rewritten(village):
    copy = village.folder / "old-log"
    log = village.folder / "city" / "seals" / "log"
    village.stop("ingest")
    shutil.copytree(log, copy)
    village.start_ingest()
    grant = village.granted(copies=1)
    village.holds(grant)
    stamps(village, grant)
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
    row("T9", "the log is set back; the database too", "the office refuses; the witness does not cosign, so no seal takes anything; "
        "an altered tile: benches/seal/check_tlog")


def t10_second_press(village):
    grant = village.granted(copies=2)
    village.holds(grant)
    before = words(village).count("pressed_again")
    said = village.stamp(grant, hand=("press", "twice"))
    assert said["outcome"] == "pressed_again", said
    until("it is found", lambda: words(village).count("pressed_again") == before + 1)
    stamps(village, grant)
    receipt = village.receipts("stamped")[0]
    assert receipt["before"] and receipt["after"] and receipt["before"] != receipt["after"]
    row("T10", "two presses in one opening; another sheet", "pressed_again is found; both photographs' digests are in the receipt")


def t13_forged(village):
    other = village.folder / "forged.jpg"
    other.write_bytes(b"\xff\xd8 rubber \xff\xd9")
    assert village.verify(other, ok=(65,)).returncode == 65
    row("T13", "an impression by another seal", "nothing covers it: `ingest seal verify` says so to anybody")


def t14_made_to(village):
    grant = village.granted(copies=1)
    village.holds(grant)
    stamps(village, grant, person=f"pin {DURESS}")
    until("it is found", lambda: "duress" in words(village))
    row("T14", "somebody is made to stamp and types the other PIN", "it stamps, and the office finds duress")


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(tempfile.mkdtemp())
    village = Village(folder, programs, stamps=STAMPS_ALONE, most_uses=9)
    try:
        village.begin()
        for tried in (t1_replay, t1_old_card, t2_over_count, t4_t12_revoked_while_alone, t5_hoarded, t6_stolen, t7_cloned,
                      t10_second_press, t13_forged, t14_made_to, t8_stolen_key, t9_rewritten):
            tried(village)
        row("T3", "the clock is set back, or unknown", "seal: tests::decisions; gateway: seal::contact")
        row("T8", "the server issues alone, hides, makes rules of its own", "ingest: office::tests::an_insider_at_the_server_stamps_nothing")
        row("T11", "recorded, replayed, altered, fuzzed", "seal: tests::policies, tests::hostile; office::answer; fuzz targets seal, line; line.py")
        print(f"{len({threat for threat, _, _ in ROWS})} threats in {len(ROWS)} attempts, none got through")
    except BaseException:
        for name in ("ingest", "gateway", "witness"):
            print(f"--- {name}\n{village.log(name)[-3000:]}", file=sys.stderr)
        raise
    finally:
        village.close()
        if len(sys.argv) <= 2:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
