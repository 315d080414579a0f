#!/usr/bin/env python3
"""The story with keys of SM2 and digests of SM3, told in short: two of three approve with key files, the seal stamps twice and
refuses a third time, its receipts are verified by the roots' keys alone.

  python benches/seal/story_sm2.py PROGRAMS [FOLDER]

PROGRAMS holds ingest and gateway, built with the feature `sm`, and examples/hand. The log and its witness stay with Ed25519.
"""

import pathlib
import sys

from village import Village, lodging, until


def tell(village):
    village.begin()
    print(f"office, witness, people, rules and seal are there, all with keys of {village.algorithm}", flush=True)
    grant = village.granted()
    village.holds(grant)
    refused = village.used_up(grant, village.carried(grant))[-1]
    print(f"two uses; the third: {refused['refused']}", flush=True)
    receipts = until("two uses and a refusal are on record", lambda: (
        len(village.receipts("stamped")) == 2 and village.receipts("refused") and village.receipts("stamped")))
    for receipt in receipts:
        until(f"{receipt['digest']} is verified", lambda: village.verify(receipt["digest"], ok=(0, 65)).returncode == 0)
    assert village.timeline()["findings"] == [], village.timeline()["findings"]
    until("the audit holds", lambda: village.audit(ok=(0, 65)).returncode == 0)
    print("verified and audited: the story holds", flush=True)


def main():
    with lodging(sys.argv[2:]) as folder, Village(folder, pathlib.Path(sys.argv[1]).resolve(), algorithm="sm2") as village:
        tell(village)


if __name__ == "__main__":
    main()
