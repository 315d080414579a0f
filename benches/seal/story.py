#!/usr/bin/env python3
"""The story of a certificate, with everything real: in Chromium people come in, make keys, apply, and two approve with a
signature; it is granted, and a seal stamps twice with photographs; everybody's pages show it, and a stranger verifies; a third
press is refused. Then the same with the network cut after the grant.

  python benches/seal/story.py PROGRAMS CACHE [FOLDER]

What people do in browsers is told by `benches/console/seals.mjs`, which leads; what happens at the seal it asks for here, a line
of JSON each way. PROGRAMS holds ingest, gateway and examples/hand, CACHE what Node needs (`benches/console/packages`).
Photographs of the pages go to the folder in $SHOTS.
"""

import json
import os
import pathlib
import subprocess
import sys

import zxingcpp
from PIL import Image

from village import Village, lodging, until


class Story(Village):
    """What the browsers ask for."""

    deputies = ("teacher",)

    def opens(self):
        """An office in which nobody is yet: its address, the token of the first admin, where files can be left."""
        self.found()
        base, token = self.first_link()
        return {"base": base, "token": token, "folder": str(self.folder)}

    def rules_for(self, approvers):
        """Rules in which these people, by name and key, approve: the file."""
        self.approvers = approvers
        return str(self.signed_rules(1))

    def used(self, grant, carried):
        """Two uses and a third one, with the copy that the applicant saved."""
        return self.used_up(grant, json.loads(pathlib.Path(carried).read_text())["presented"])

    def verified(self, digest):
        """A stranger at a command line, as soon as the witness has seen it."""
        return until(f"{digest} is covered", lambda: holding(self.verify(digest, ok=(0, 65))))

    def scanned(self, picture):
        """What a scanner reads in a picture of a code."""
        (code,) = zxingcpp.read_barcodes(Image.open(picture).convert("L"))
        return code.text

    def forged(self):
        """A photograph of another stamp."""
        other = self.folder / "forged.jpg"
        other.write_bytes(b"\xff\xd8 a forged stamp \xff\xd9")
        return self.verify(other, ok=(65,)).stdout

    def audited(self):
        """The whole log, as soon as the witness has seen all of it."""
        return until("the audit holds", lambda: holding(self.audit(ok=(0, 65))))

    def cut(self):
        self.line.cut()

    def mend(self):
        self.line.mend()


def holding(done):
    """What it said, if it holds."""
    return done.stdout if done.returncode == 0 else None


def tell(story, cache):
    """Starts the browsers and does what they ask for; whether all was well."""
    shots = os.environ.get("SHOTS", story.folder / "shots")
    browsers = subprocess.Popen(["node", cache / "console" / "seals.mjs", shots], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)
    for line in browsers.stdout:
        if not line.startswith('{"act"'):
            print(line, end="", flush=True)
            continue
        asked = json.loads(line)
        try:
            answer = {"done": getattr(story, asked["act"])(*asked["words"])}
        except Exception as error:  # whatever it was ends the story over there
            answer = {"failed": f"{type(error).__name__}: {error}"}
        browsers.stdin.write(json.dumps(answer) + "\n")
        browsers.stdin.flush()
    return browsers.wait(60) == 0


def main():
    programs, cache = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    subprocess.run([pathlib.Path(__file__).parents[1] / "console" / "packages", cache / "console"], check=True)
    with lodging(sys.argv[3:]) as folder, Story(folder, programs) as story:
        assert tell(story, cache), "the story does not hold: see what failed above"


if __name__ == "__main__":
    main()
