"""Somebody at the server who has its keys, its database, its disk and its line to the seal, and makes people sign: T8 and T9.

COSE (RFC 9052) and the log's proofs (RFC 9162, C2SP) are written here by libraries that are not ours.
"""

import base64
import contextlib
import functools
import hashlib
import http.server
import os
import sqlite3
import threading
import time

import cbor2

from between import Between
from village import Refused, until

LOG = "seals.example-log"
# Numbers of fields in a grant and in rules.
ID, SEQUENCE, USES, NONCE = 1, 3, 8, 14
NUMBER, MATTERS, NEEDED = 2, 9, 2


def sha256(data):
    return hashlib.sha256(data).digest()


def root(hashes):
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + root(hashes[:half]) + root(hashes[half:]))


def path(index, hashes):
    """From a leaf up to the root."""
    if len(hashes) == 1:
        return []
    half = 1 << (len(hashes) - 1).bit_length() - 1
    if index < half:
        return path(index, hashes[:half]) + [root(hashes[half:])]
    return path(index - half, hashes[half:]) + [root(hashes[:half])]


def entries(bundle):
    """The leaves of a bundle, each behind its length."""
    while bundle:
        end = 2 + int.from_bytes(bundle[:2], "big")
        yield bundle[2:end]
        bundle = bundle[end:]


def bundle(leaves):
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def text(data):
    return base64.b64encode(data).decode()


class Insider:
    def __init__(self, village):
        self.village = village

    def envelope(self, kind, fields, names, also=()):
        """Signed by keys of the village, by name; `also`: signatures from elsewhere."""
        payload = cbor2.dumps(dict(sorted(fields.items())))
        body = cbor2.dumps({3: f"application/vnd.watchfire.{kind}+cbor"})
        signatures = []
        for name in names:
            key = self.village.signer(name)
            head = cbor2.dumps({1: -19, 4: sha256(b"ed25519" + key.public_key().public_bytes_raw())[:8]})
            signatures.append([head, {}, key.sign(cbor2.dumps(["Signature", body, head, b"", payload]))])
        return cbor2.dumps(cbor2.CBORTag(98, [body, {}, payload, [*signatures, *also]]))

    @staticmethod
    def opened(envelope):
        """What was signed, and the signatures."""
        _, _, payload, signatures = cbor2.loads(envelope).value
        return cbor2.loads(payload), signatures

    def log(self):
        """The leaves that the witness has seen, and the checkpoint."""
        ask = self.village.people["auditor"].ask
        note = ask("GET", "/tlog/checkpoint").decode()
        size = int(note.split("\n")[1])
        assert 0 < size < 256, "more than one tile"
        return list(entries(ask("GET", f"/tlog/tile/entries/000.p/{size}"))), note

    @staticmethod
    def proof(leaf, leaves, note):
        hashes = [sha256(b"\0" + one) for one in leaves]
        index = leaves.index(leaf)
        lines = [f"index {index}", *map(text, path(index, hashes))]
        return "c2sp.org/tlog-proof@v1\n" + "\n".join(lines) + "\n\n" + note

    def logged(self, kind, envelope):
        """Written into the database, so that the office puts it into the log and the witness sees it; with its proof."""
        database = sqlite3.connect(self.village.folder / "city" / "registry.sqlite", timeout=20)
        with contextlib.closing(database), database:
            database.execute("INSERT INTO leaves (digest, nth, kind, seal, at_ms, body) VALUES "
                             "(?, (SELECT MAX(nth) + 1 FROM leaves), ?, ?, ?, ?)",
                             (sha256(envelope), kind, self.village.seal, int(time.time() * 1000), envelope))
        # It looks whenever something happens.
        self.village.people["operator"].ask("POST", f"/api/v1/seals/{self.village.seal}/lock", {"locked": False})
        leaves, note = until("the witness has seen it", lambda: (
            found if envelope in (found := self.log())[0] else None))
        return cbor2.dumps([envelope, self.proof(envelope, leaves, note).encode()])

    def unwitnessed(self, envelope):
        """With a proof out of a log of its own, signed with the real log's key."""
        key, leaf = self.village.signer(LOG), sha256(b"\0" + envelope)
        note = f"{LOG}\n1\n{text(leaf)}\n"
        number = sha256(LOG.encode() + b"\n\1" + key.public_key().public_bytes_raw())[:4]
        note += f"\n\u2014 {LOG} {text(number + key.sign(note.encode()))}\n"
        return cbor2.dumps([envelope, self.proof(envelope, [envelope], note).encode()])


def t8_insider(village):
    insider = Insider(village)
    grant = village.granted(copies=1)
    village.holds(grant)
    real, proof = cbor2.loads(base64.b64decode(village.carried(grant)))
    fields, (_, *approvals) = insider.opened(real)
    assert insider.envelope("grant", fields, ["issuer"], approvals) == real, "the same bytes, written by other libraries"
    more = {**fields, ID: os.urandom(16), SEQUENCE: fields[SEQUENCE] + 40, USES: village.most_uses}

    said = []

    # Brought to the desk; the server says them all to the seal as well, at the end.
    def tried(presented, expected):
        said.append(presented)
        why = village.present(text(presented))
        assert why == expected, why
        return why

    alone = insider.envelope("grant", more, ["issuer"])
    why = tried(insider.logged("grant", alone), "approvals")
    audit = village.audit(ok=(65,)).stdout
    assert "a grant against the rules: Too few approvers" in audit, audit
    index = insider.log()[0].index(alone)
    assert f"✗ #{index} {village.seal}:" in audit, audit
    yield "T8", "the server issues alone, with its own key, and logs it", f"{why}; the audit of anybody names leaf {index}"
    borrowed = insider.envelope("grant", more, ["issuer"], approvals)
    one = insider.envelope("grant", more, ["issuer", "secretary", LOG])
    why = tried(insider.logged("grant", borrowed), "approvals"), tried(insider.logged("grant", one), "approvals")
    yield "T8", "with approvals of another paper; with one of two, and the log's key", ", ".join(why)
    hidden = insider.envelope("grant", more, ["issuer", "secretary", "clerk"])
    leaves, note = insider.log()
    # The path of another leaf, with a real checkpoint.
    wrong = insider.proof(real, leaves, note).encode()
    why = [tried(cbor2.dumps([hidden, wrong]), "proof"), tried(cbor2.dumps([hidden, proof]), "proof"),
           tried(insider.unwitnessed(hidden), "witnesses")]
    yield "T8", "two are made to sign, and nobody is to see it: proofs of another grant, a log of its own", ", ".join(why)
    rules, _ = insider.opened((village.folder / "rules.cose").read_bytes())
    rules[NUMBER] += 6
    rules[MATTERS][0][NEEDED] = 1
    between, before = Between(village, "grant"), len(village.log("gateway"))
    for names in (["issuer", LOG], ["root-1", "issuer"]):
        envelope = insider.envelope("policy", rules, names)
        said.append(insider.logged("policy", envelope))
        try:
            village.people["admin"].ask("POST", "/api/v1/policies", {"policy": text(envelope)})
            raise AssertionError("the office takes rules that the roots have not signed")
        except Refused as refused:
            assert 400 <= refused.status < 500, refused
    said.append(insider.unwitnessed(insider.envelope("policy", rules, ["root-1", "root-2"])))
    between.prepares()
    good = between.says(said)
    status, log = village.status(), village.log("gateway")[before:]
    assert status["policy"] == 1 and {one["grant"] for one in status["grants"]} == {grant, good}, status
    assert log.count("why=Roots") == 2 and log.count("why=Proof") == 1, log
    between.goes()
    village.stamps(grant)
    yield "T8", "rules of its own: no root signs, one does, two do in a log of its own", \
        "roots, roots, proof; the office refuses too; what is in order still is"


class Served(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/tlog"))

    def log_message(self, *_):
        pass


def t9_a_leaf(village):
    """The log as a server serves it whose disk somebody has changed: of a copy, as the audit keeps it."""
    assert "✓ 叶子与检查点相符" in village.audit(ok=(0, 65)).stdout
    folder = village.folder / "copy"
    handler = functools.partial(Served, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = next((folder / "tile" / "entries").glob("000.p/*"))
        hashes = folder / "tile" / "0" / file.relative_to(folder / "tile" / "entries")
        good, good_hashes = file.read_bytes(), hashes.read_bytes()
        leaves = list(entries(good))
        index = len(leaves) // 2
        altered = bytearray(leaves[index])
        altered[-20] ^= 1
        changed = [*leaves[:index], bytes(altered), *leaves[index + 1:]]
        for what, content, its_hashes in (
            ("altered", changed, None),
            ("dropped", [*leaves[:index], *leaves[index + 1:]], None),
            ("altered with its hash", changed, [sha256(b"\0" + leaf) for leaf in changed]),
        ):
            file.write_bytes(bundle(content))
            hashes.write_bytes(good_hashes if its_hashes is None else b"".join(its_hashes))
            said = village.audit(ok=(65,), port=server.server_port, copy="again").stdout
            assert "✗ 叶子与检查点不符" in said and f"✗ #{index} " in said, (what, said)
        server.shutdown()
    file.write_bytes(good)
    hashes.write_bytes(good_hashes)
    yield "T9", f"one of {len(leaves)} leaves is altered, dropped, altered with its hash", \
        f"`ingest seal audit` names leaf {index} each time"
