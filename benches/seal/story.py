#!/usr/bin/env python3
"""The story of a certificate, with everything real: applied for, approved by two, granted, stamped twice with photographs,
verified by anybody; a third press is refused. Then the same with the network cut after the grant.

  python benches/seal/story.py PROGRAMS [FOLDER]
  python benches/seal/story.py --sm2 PROGRAMS [FOLDER]      with keys of SM2 and SM3; programs built with the feature `sm`
"""

import json
import pathlib
import shutil
import sys
import tempfile

from village import Village, until


def say(line):
    print(line, flush=True)


def stamped_and_refused(village, grant):
    """Two uses and a third one; the number of strokes says that nothing else happened. Somebody has kept a copy of the
    grant, and brings it once more."""
    copy = village.carried(grant)
    before = village.strokes()
    for n in (1, 2):
        said = village.stamp(grant)
        assert said["ok"], said
        say(f"  use {n}: {json.dumps(said, ensure_ascii=False)[:160]}")
    assert "closed" in village.hand("press"), "nothing is open"
    assert not village.stamp(grant)["ok"], "a third use"
    said = json.loads(village.desk("present", "--grant", copy, ok=(2,)).stdout)
    say(f"  use 3: {json.dumps(said, ensure_ascii=False)[:160]}")
    assert village.strokes() - before == 2, village.strokes()


def main():
    is_sm2 = "--sm2" in sys.argv[1:]
    programs, *folders = [argument for argument in sys.argv[1:] if argument != "--sm2"]
    folder = pathlib.Path(folders[0] if folders else tempfile.mkdtemp())
    village = Village(folder, pathlib.Path(programs).resolve(), algorithm="sm2" if is_sm2 else "ed25519")
    try:
        village.begin()
        say("office, witness, people, rules and seal are there")
        wrong = village.apply()
        (village.folder / "document").write_bytes(b"another paper")
        try:
            village.approve(wrong, "secretary", document=True)
            raise AssertionError("signed for another document")
        except AssertionError as refused:
            assert "is not the document of this grant" in str(refused), refused
        say("an approver who has another paper in hand signs nothing")
        grant = village.granted()
        village.holds(grant)
        say(f"granted by two of three and logged: {grant}")
        stamped_and_refused(village, grant)
        receipts = until("two uses and a refusal are on record", lambda: (
            len(village.receipts("stamped")) == 2 and village.receipts("refused") and village.receipts("stamped")))
        for receipt in receipts:
            # The photograph that anybody may have taken with them, or the receipt's own digest, as on a QR code.
            for digest in (receipt["digest"], receipt["after"], receipt["before"]):
                until(f"{digest} is seen by the witness", lambda: village.verify(digest, ok=(0, 65)).returncode == 0)
        photograph = next(path for path in sorted(village.album.iterdir()))
        said = village.verify(photograph).stdout
        assert "covered by a grant" in said, said
        say("verified by its receipt, its digest and its photograph:\n" + said)
        pictures = until("the photographs have come", lambda: [
            picture for picture in (receipts[0]["after"], receipts[1]["after"])
            if not isinstance(picture_of(village, picture), Exception)] or None)
        say(f"{len(pictures)} photographs are there")
        other = village.folder / "other.jpg"
        other.write_bytes(b"\xff\xd8 a forged stamp \xff\xd9")
        assert village.verify(other, ok=(65,)).returncode == 65
        say("a photograph of another stamp is covered by nothing")
        say(village.audit().stdout)

        say("the network is cut after the next grant")
        grant = village.granted()
        village.holds(grant)
        village.line.cut()
        stamped_and_refused(village, grant)
        village.line.mend()
        until("all is on record after the network is back", lambda: len(village.receipts("stamped")) == 4)
        until("its refusal too", lambda: len(village.receipts("refused")) == 2)
        assert village.timeline()["findings"] == [], village.timeline()["findings"]
        until("the audit holds", lambda: village.audit(ok=(0, 65)).returncode == 0)
        say(village.audit().stdout)
        say("the story holds")
    except BaseException:
        for name in ("ingest", "gateway", "witness"):
            print(f"--- {name}\n{village.log(name)[-3000:]}", file=sys.stderr)
        raise
    finally:
        village.close()
        if not folders:
            shutil.rmtree(folder, ignore_errors=True)


def picture_of(village, digest):
    try:
        return village.people["auditor"].ask("GET", f"/api/v1/pictures/{digest}")
    except Exception as error:  # not there yet
        return error


if __name__ == "__main__":
    main()
