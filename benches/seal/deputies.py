#!/usr/bin/env python3
"""Somebody who approves is away, with everything real: a deputy approves in their place, and the seal stamps without a
network. It refuses what the deputy has approved once the delegation is withdrawn, or over, also when nobody can tell it. Who
may approve and is a deputy counts once.

  python benches/seal/deputies.py PROGRAMS [FOLDER]
"""

import json
import pathlib
import sys
import time

from village import SEAL, Refused, Village, lodging, until

MATTER = "certificate of residence"
HOUR_S = 3600
# Long enough to approve, log and hand out a grant; then it is waited for.
SOON_S = 25


def say(line):
    print(line, flush=True)


class Deputies(Village):
    deputies = ("teacher",)

    def depute(self, absent, deputy, seconds):
        """What the one who is away signs, by the command line; the id."""
        person = self.people[absent]
        drafted = person.ask("POST", "/api/v1/delegations/draft", {
            "seal": SEAL, "to": deputy, "matters": [MATTER], "until_ms": int((time.time() + seconds) * 1000),
            "key": self.public(absent)})
        (self.folder / "to-sign.json").write_text(json.dumps(drafted))
        done = self.run("ingest", "seal", "sign", self.folder / "to-sign.json", "--key", self.folder / f"{absent}.key", "--yes")
        for part in (absent, deputy, MATTER):
            assert part in done.stderr, f"{part} is not shown: {done.stderr}"
        return person.ask("POST", "/api/v1/delegations", {"payload": drafted["payload"], **json.loads(done.stdout)})["delegation"]

    def approved_by(self, *names, **wish):
        grant = self.apply(**wish)
        for name in names[:-1]:
            assert not self.approve(grant, name), f"{name} is not enough"
        assert self.approve(grant, names[-1]), f"{names} are enough"
        return grant

    def is_deputy_at_seal(self, delegation):
        return any(one["delegation"] == delegation for one in self.status()["deputies"])


def refused(what, do):
    try:
        do()
    except Refused as error:
        assert error.status in (403, 404, 409), error
        say(f"  {what}: {error}")
        return
    raise AssertionError(f"{what} is allowed")


def main():
    programs = pathlib.Path(sys.argv[1]).resolve()
    with lodging(sys.argv[2:]) as folder, Deputies(folder, programs) as village:
        village.begin()
        grant = village.apply()
        refused("nobody's deputy approves", lambda: village.approve(grant, "teacher"))
        refused("a deputy delegates what is not theirs", lambda: village.depute("teacher", "clerk", HOUR_S))
        delegation = village.depute("secretary", "teacher", HOUR_S)
        assert not village.approve(grant, "teacher") and village.approve(grant, "clerk")
        approvals = village.people["auditor"].ask("GET", f"/api/v1/applications/{grant}")["approvals"]
        assert [(one["person"], one["in_place_of"]) for one in approvals] == [("teacher", "secretary"), ("clerk", None)], approvals
        village.holds(grant)
        assert village.is_deputy_at_seal(delegation), "the delegation comes before the grant"
        village.line.cut()
        for n in (1, 2):
            said = village.stamp(grant)
            assert said["ok"], said
        village.line.mend()
        receipts = until("two uses are on record", lambda: len(village.receipts("stamped")) == 2 and village.receipts("stamped"))
        until("they are verified", lambda: village.verify(receipts[0]["digest"], ok=(0, 65)).returncode == 0)
        until("the audit holds", lambda: village.audit(ok=(0, 65)).returncode == 0)
        say("a deputy approves in place of the secretary, the seal stamps without a network, and anybody can verify it")

        once = village.apply()
        second = village.depute("county", "clerk", HOUR_S)
        assert not village.approve(once, "clerk"), "the clerk is one, for themselves"
        assert village.approve(once, "secretary")
        village.holds(once)
        assert village.stamp(once)["ok"]
        say("who may approve and is somebody's deputy counts once")

        grant = village.approved_by("teacher", "clerk")
        village.holds(grant)
        assert village.stamp(grant)["ok"]
        # Whoever looks at it later knows whole seconds, and takes a use in that of the withdrawal for one after it.
        time.sleep(1.1)
        refused("the deputy withdraws", lambda: village.people["teacher"].ask(
            "POST", f"/api/v1/delegations/{delegation}/withdrawal", {"why": "tired"}))
        village.people["secretary"].ask("POST", f"/api/v1/delegations/{delegation}/withdrawal", {"why": "back at work"})
        village.people["admin"].ask("POST", f"/api/v1/delegations/{second}/withdrawal", {"why": "not needed"})
        until("the seal has heard", lambda: not village.status()["deputies"])
        village.line.cut()
        said = village.stamp(grant)
        assert said["refused"] == "deputy", said
        say(f"after the withdrawal: {said['en']}")
        village.line.mend()
        again = village.apply()
        refused("the deputy approves", lambda: village.approve(again, "teacher"))

        ends_s = time.time() + SOON_S
        village.depute("secretary", "teacher", SOON_S)
        grant = village.approved_by("teacher", "clerk")
        village.holds(grant)
        village.line.cut()
        assert village.stamp(grant)["ok"], "while it holds"
        time.sleep(max(0, ends_s + 1 - time.time()))
        said = village.stamp(grant)
        assert said["refused"] == "deputy", said
        say(f"after its time, without a network: {said['en']}")
        village.line.mend()
        until("all is on record", lambda: len(village.receipts("stamped")) == 5 and len(village.receipts("refused")) == 2)
        assert village.timeline()["findings"] == [], village.timeline()["findings"]
        until("the audit holds", lambda: village.audit(ok=(0, 65)).returncode == 0)
        say(village.audit().stdout)
        say("deputies count as the rules say")


if __name__ == "__main__":
    main()
