"""A village with everything real: ingest with an office of seals, a witness, a gateway whose seal exists in a folder.

What people do in browsers is done here over HTTP; keys of approvers and roots lie in files. Everything listens on loopback,
and is stopped by process id.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import sm2
from line import Line

SEAL = "gongli-07"
AREA = "jinan/pingyin/gongli"
PASSWORD = "a long pass phrase of {}"
CARD = "04a2f35b"
PIN, DURESS = "271828", "314159"
DOCUMENT = b"a certificate of residence"
# How long something may take that takes a second or two.
PATIENCE_S = 60


@contextlib.contextmanager
def lodging(named):
    """The folder that is named, or one for as long as it is needed."""
    if named:
        yield pathlib.Path(named[0]).resolve()
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield pathlib.Path(folder).resolve()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, found, seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"after {seconds} s still not: {what}")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Refused(Exception):
    def __init__(self, status, problem):
        super().__init__(f"{status}: {problem.get('detail', problem)}")
        self.status, self.problem = status, problem


class Person:
    """Somebody with a session."""

    def __init__(self, village, name):
        self.village, self.name, self.cookie = village, name, None

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.village.http, timeout=30)
        headers = {"content-type": "application/json"} if body is not None else {}
        if self.cookie:
            headers["cookie"] = self.cookie
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.getheader("set-cookie"):
            self.cookie = answer.getheader("set-cookie").split(";")[0]
        kind = answer.getheader("content-type") or ""
        value = json.loads(data) if "json" in kind and data else data
        if answer.status >= 400:
            raise Refused(answer.status, value if isinstance(value, dict) else {"detail": value})
        return value

    def enter(self, password):
        return self.ask("POST", "/api/v1/session", {"name": self.name, "password": password})


class Village:
    seal = SEAL
    # People whom the rules name and who approve nothing by themselves; with some, certificates may be delegated.
    deputies = ()

    def __init__(self, folder, programs, answer="10min", alone="1d", stamps=20, most_uses=3, hello="10s", algorithm="ed25519"):
        self.folder, self.programs = pathlib.Path(folder), pathlib.Path(programs)
        self.http, self.mqtt, self.witness_port = free_port(), free_port(), free_port()
        self.running, self.people, self.lease, self.most_uses = {}, {}, (alone, stamps, answer), most_uses
        # The usual pause between two hellos.
        self.hello = hello
        # Keys of those who approve, by name.
        self.approvers = {}
        # By which everybody signs who signs no notes, and the public halves by name.
        self.algorithm, self.publics = algorithm, {}
        # More of its environment, by program.
        self.environment = {}
        self.world, self.album = self.folder / "world", self.folder / "album"
        self.gateway_config = self.folder / "gateway.toml"
        self.line = Line(self.mqtt)

    def __enter__(self):
        return self

    def __exit__(self, wrong, *_):
        """Stops everything; what the programs have said last stands beside what went wrong."""
        self.close()
        for log in sorted(self.folder.glob("*.log")) if wrong else ():
            print(f"--- {log.stem}\n{log.read_text()[-3000:]}", file=sys.stderr)

    # Programs.

    def run(self, program, *arguments, ok=(0,), text=None):
        command = [self.programs / program, *map(str, arguments)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
        if done.returncode not in ok:
            raise AssertionError(f"{program} {arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, name, program, *arguments):
        log = open(self.folder / f"{name}.log", "a")
        command = [self.programs / program, *map(str, arguments)]
        environment = {**os.environ, "NO_COLOR": "1", **self.environment.get(name, {})}
        self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def stop(self, name, how=signal.SIGTERM):
        process = self.running.pop(name, None)
        if process:
            process.send_signal(how)
            process.wait(60)

    def close(self):
        for name in list(self.running):
            self.stop(name)

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Setting up.

    def key(self, name, algorithm=None):
        """Makes a key by `ingest seal key`; its public half, and its verifier if it signs notes."""
        said = self.run("ingest", "seal", "key", self.folder / f"{name}.key", "--name", name,
                        "--algorithm", algorithm or self.algorithm).stdout.split("\n")
        self.publics[name] = said[0].split()[-1]
        return self.publics[name], said[1].split()[-1] if said[1] else None

    def begin(self):
        self.found()
        self.admit_people()
        self.commission()

    def found(self):
        """Keys, a witness, and ingest with its office, in which nobody is yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_verifier = self.key("seals.example-log", "ed25519")[1]
        self.issuer = self.key("issuer")[0]
        self.roots = [self.key(f"root-{n}")[0] for n in (1, 2, 3)]
        key = self.folder / "witness.key"
        self.witness_verifier = self.run("ingest", "witness", "--new-key", key, "--name", "notary.example/w1").stdout.strip()
        self.start_witness()
        roots = ", ".join(f'"{root}"' for root in self.roots)
        (self.folder / "ingest.toml").write_text(f"""
data = "city"
[mqtt]
listen = "127.0.0.1:{self.mqtt}"
[http]
listen = "127.0.0.1:{self.http}"
[seals]
log_key = "seals.example-log.key"
issuer_key = "issuer.key"
roots = [{roots}]
roots_needed = 2
[[seals.witness]]
url = "http://127.0.0.1:{self.witness_port}"
key = "{self.witness_verifier}"
""")
        self.start_ingest()

    def start_witness(self):
        self.start("witness", "ingest", "witness", "--listen", f"127.0.0.1:{self.witness_port}", "--data",
                   self.folder / "witness", "--key", self.folder / "witness.key", "--log", self.log_verifier)

    def start_ingest(self):
        before = self.log("ingest").count("ingest is serving")
        self.start("ingest", "ingest", "serve", "--config", self.folder / "ingest.toml")
        until("ingest serves", lambda: self.log("ingest").count("ingest is serving") > before)

    def start_gateway(self):
        self.start("gateway", "gateway", "run", "--config", self.gateway_config)
        until("the desk of the seal is open", lambda: self.desk("status", ok=(0, 1, 2)).returncode == 0)

    def first_link(self):
        """The address by which the first admin comes in: of the server, and the token."""
        return until("the first link", lambda: re.search(r"(http://[\d.:]+)/first#([\w-]+)", self.log("ingest"))).groups()

    def heard(self):
        """After a start nobody knows how long it was alone: it asks."""
        until("the seal was heard", lambda: self.status()["heard_s_ago"] is not None)

    def restart(self):
        self.stop("gateway")
        self.start_gateway()
        self.heard()

    def admit_people(self):
        _, token = self.first_link()
        admin = Person(self, "admin")
        admin.ask("POST", "/api/v1/first", {"token": token, "name": "admin", "password": PASSWORD.format("admin")})
        admin.enter(PASSWORD.format("admin"))
        self.people["admin"] = admin
        for name, roles in {
            "installer": ["installer"], "bookkeeper": ["applicant"], "secretary": ["approver"], "clerk": ["approver"],
            "county": ["approver"], "auditor": ["auditor"], "operator": ["operator"], **dict.fromkeys(self.deputies, ["approver"]),
        }.items():
            area = [{"role": role, "area": AREA} for role in roles]
            made = admin.ask("POST", "/api/v1/accounts", {"name": name, "shown": name, "roles": area})
            person = Person(self, name)
            person.enter(made["password"])
            chosen = PASSWORD.format(name)
            person.ask("POST", "/api/v1/me/password", {"old": made["password"], "new": chosen})
            person.enter(chosen)
            self.people[name] = person
        for name in ("secretary", "clerk", "county", *self.deputies):
            public = self.key(name)[0]
            proof = self.signer(name).sign(f"watchfire person key v1\n{name}\n{public}\n".encode())
            self.people[name].ask("POST", "/api/v1/me/keys", {
                "key": public, "label": "file", "proof": base64url(proof), "password": PASSWORD.format(name)})
            self.approvers[name] = public

    def signer(self, name):
        """The secret of a key file, for what a browser does."""
        secret = base64.b64decode((self.folder / f"{name}.key").read_text().strip().split("+", 4)[-1])
        return sm2.Key(secret) if self.algorithm == "sm2" else Ed25519PrivateKey.from_private_bytes(secret[1:])

    def public(self, name):
        return self.publics[name]

    def commission(self):
        """The installer: the device, its enrolment, its rules."""
        self.people["installer"].ask("POST", "/api/v1/seals", {
            "seal": SEAL, "area": AREA, "gateway": "gongli-07", "key": self.device()})
        self.rules(1)
        self.start_gateway()

    def device(self):
        """The device with roots, people and a camera; its key."""
        roots = self.run("ingest", "seal", "--http", f"127.0.0.1:{self.http}", "roots", SEAL).stdout
        (self.folder / "roots.toml").write_text(roots)
        self.album.mkdir(exist_ok=True)
        for n in range(4):
            # As small as a JPEG can be told from others.
            (self.album / f"{n}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes([n]) * 40_000 + b"\xff\xd9")
        self.write_people()
        self.gateway_config.write_text(f"""
[gateway]
id = "gongli-07"
area = "{AREA}"
data = "box"
[place]
lat = 36.2870
lon = 116.4360
datum = "wgs84"
[ingest]
broker = "mqtt://127.0.0.1:{self.line.port}"
[board]
kind = "simulated"
seed = 7
speed = 1
[[device]]
name = "office"
chip = "sht4x"
bus = "/dev/i2c-1"
every = "60s"
outputs = {{ temperature = {{ sensor = "office.temperature", label = "办公室" }} }}
[seal]
name = "{SEAL}"
roots = "roots.toml"
people = "people.toml"
world = "world"
hello = "{self.hello}"
[seal.camera]
album = "album"
""")
        said = self.run("gateway", "seal", "init", "--config", self.gateway_config, "--algorithm", self.algorithm).stdout
        return re.search(r"(?<=\s)(sm2:[\w-]{44}|[\w-]{43})(?=\s)", said)[0]

    def write_people(self):
        """Who may use it: by a card, by a number, and by a number that says that somebody makes them."""
        pin, duress = (self.run("gateway", "seal", "pin", text=number).stdout.strip() for number in (PIN, DURESS))
        (self.folder / "people.toml").write_text(
            f'[[person]]\nname = "bookkeeper"\ncard = "{CARD}"\npin = "{pin}"\nduress = "{duress}"\n')

    def rules(self, number):
        """New rules, signed by two of the roots, and taken by the office."""
        policy = base64.b64encode(self.signed_rules(number).read_bytes()).decode()
        self.people["admin"].ask("POST", "/api/v1/policies", {"policy": policy})

    def signed_rules(self, number, keys=("root-1", "root-2")):
        """The file of them."""
        alone, stamps, answer = self.lease
        approvers = "".join(f'[[approver]]\nperson = "{name}"\nkey = "{key}"\n' for name, key in self.approvers.items())
        text = f"""
seal = "{SEAL}"
number = {number}
issuers = ["{self.issuer}"]
log = "{self.log_verifier}"
witnesses = ["{self.witness_verifier}"]
witnesses_needed = 1
{approvers}
[[matter]]
matter = "certificate of residence"
approvers = {json.dumps([name for name in self.approvers if name not in self.deputies])}
needed = 2
most_uses = {self.most_uses}
photograph_before = true
may_be_delegated = {str(bool(self.deputies)).lower()}
[alone]
longest = "{alone}"
stamps = {stamps}
answer = "{answer}"
"""
        (self.folder / "rules.toml").write_text(text)
        given, signed = self.folder / "rules.toml", self.folder / "rules.cose"
        for key in keys:
            self.run("ingest", "seal", "policy", given, "--key", self.folder / f"{key}.key", "--output", signed)
            given = signed
        return signed

    # What people do.

    def apply(self, copies=2, document=DOCUMENT, **more):
        (self.folder / "document").write_bytes(document)
        digest = hashlib.sha256(document).hexdigest()
        if self.algorithm == "sm2":
            digest, more["hash"] = sm2.openssl("dgst", "-sm3", "-binary", given=document).stdout.hex(), "sm3"
        form = {"seal": SEAL, "matter": "certificate of residence", "title": "Certificate for Li Ming", "pages": 1,
                "document": digest, "copies": copies, **more}
        return self.people["bookkeeper"].ask("POST", "/api/v1/applications", form)["grant"]

    def approve(self, grant, name, document=False):
        """Signs, if asked only with the document in hand."""
        person = self.people[name]
        to_sign = person.ask("GET", f"/api/v1/applications/{grant}/to-sign?key={self.public(name)}")
        (self.folder / "to-sign.json").write_text(json.dumps(to_sign))
        signed = self.run("ingest", "seal", "sign", self.folder / "to-sign.json", "--key", self.folder / f"{name}.key", "--yes",
                          *(["--document", self.folder / "document"] if document else []))
        return person.ask("POST", f"/api/v1/applications/{grant}/approvals", json.loads(signed.stdout))["granted"]

    def granted(self, **wish):
        grant = self.apply(**wish)
        assert not self.approve(grant, "secretary", document=True), "one of two is not enough"
        assert self.approve(grant, "clerk"), "two of two are"
        return grant

    def carried(self, grant):
        """The grant with its proof, as somebody carries it to a seal without a network."""
        return self.people["bookkeeper"].ask("GET", f"/api/v1/applications/{grant}/grant")["presented"]

    def desk(self, *words, ok=(0,)):
        return self.run("gateway", "seal", words[0], "--config", self.gateway_config, "--json", *words[1:], ok=ok)

    def status(self):
        return json.loads(self.desk("status").stdout)

    def holds(self, grant):
        until(f"the seal holds {grant}", lambda: grant in self.desk("status").stdout)

    def hand(self, *words):
        return self.run("examples/hand", self.world, *words).stdout

    def strokes(self):
        path = self.world / "strokes"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def stamp(self, grant, press=True, person=f"card {CARD}", seconds=30, hand=("press",)):
        """Shows who one is, asks for a use, presses when it opens; what the desk says."""
        asked = subprocess.Popen([self.programs / "gateway", "seal", "stamp", "--config", self.gateway_config, "--json",
                                  "--grant", grant, "--shown", person], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + seconds
        while press and asked.poll() is None and time.monotonic() < end:
            if (self.world / "open").exists():
                self.hand(*hand)
                break
            time.sleep(0.01)
        said, wrong = asked.communicate(timeout=120)
        try:
            return json.loads(said)
        except json.JSONDecodeError as error:
            raise AssertionError(f"the desk says {said!r} {wrong!r}") from error

    def used_up(self, grant, copy):
        """Two uses and a third one; what the seal says to each. Somebody has kept a copy of the grant, and brings it once more.
        The number of strokes says that nothing else happened."""
        before = self.strokes()
        said = [self.stamp(grant) for _ in (1, 2)]
        assert all(use["ok"] for use in said), said
        assert "closed" in self.hand("press"), "it is open"
        third = self.stamp(grant)
        assert not third["ok"], third
        again = json.loads(self.desk("present", "--grant", copy, ok=(2,)).stdout)
        assert self.strokes() - before == 2, self.strokes()
        return [*said, third, again]

    def stamps(self, grant, **how):
        said = self.stamp(grant, **how)
        assert said["ok"], said
        return said

    def present(self, copy):
        """Somebody brings a grant; the reason why it is refused, or nothing."""
        return json.loads(self.desk("present", "--grant", copy, ok=(0, 2)).stdout).get("refused")

    def words(self):
        """What the office found, newest first."""
        return [finding["word"] for finding in self.timeline()["findings"]]

    def timeline(self):
        return self.people["auditor"].ask("GET", f"/api/v1/seals/{SEAL}")

    def receipts(self, outcome=None):
        return [receipt for receipt in self.timeline()["receipts"] if outcome in (None, receipt["outcome"])]

    def verify(self, what, ok=(0,)):
        return self.run("ingest", "seal", "--http", f"127.0.0.1:{self.http}", "verify", what, "--roots",
                        self.folder / "roots.toml", ok=ok)

    def audit(self, ok=(0,), port=None, copy="copy"):
        """Goes through the log as a stranger, or through what somebody else serves for it."""
        return self.run("ingest", "seal", "--http", f"127.0.0.1:{port or self.http}", "audit", "--roots",
                        self.folder / "roots.toml", "--output", self.folder / copy, ok=ok)
