#!/usr/bin/env python3
"""A COSE library that is not ours reads the frozen grant and receipt and verifies every signature; what is altered fails.
Those of SM2 no COSE library knows: OpenSSL verifies them over the bytes that RFC 9052 wants signed.

  python benches/seal/check.py                 with the package `cwt` installed, as ./test does it
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cwt import COSE, COSEKey

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "firmware" / "seal" / "src" / "tests"
# The secrets of the tests: 32 times the same byte.
SIGNERS = {"grant.hex": [1, 2], "receipt.hex": [9]}


def public(number):
    secret = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key(claimed, real):
    """A COSE_Key under the name of one key with the bytes of another (RFC 9052 §7)."""
    name = hashlib.sha256(b"ed25519" + public(claimed)).digest()[:8]
    return COSEKey.new({1: 1, 2: name, 3: -19, 4: [2], -1: 6, -2: public(real)})


def verifies(message, with_key):
    try:
        COSE.new().decode(message, keys=[with_key])
        return True
    except Exception:  # the library has no common class for "does not verify"
        return False


# By SM2: numbers and signer id as firmware/seal/src/keys.rs and sm.rs have them.
SIGNERS_SM2 = {"grant-sm2.hex": [1, 2], "receipt-sm2.hex": [9]}
SM2, SM3, SIGNER_ID = -66501, -66401, "1234567812345678"
DOCUMENT, HASH = 6, 18  # of a grant


def openssl(*arguments, given=b""):
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True)


def secret_sm2(folder, number):
    """A file with the key of a secret number (SEC 1 C.4, without the public half: OpenSSL finds it)."""
    body = bytes.fromhex("0201010420") + bytes([number]) * 32 + bytes.fromhex("a00a06082a811ccf5501822d")
    path = folder / f"{number}.der"
    path.write_bytes(bytes([0x30, len(body)]) + body)
    return path


def name_sm2(path):
    """The name of a key: of its algorithm and its compressed point."""
    made = openssl("ec", "-inform", "DER", "-in", path, "-pubout", "-conv_form", "compressed", "-outform", "DER")
    return hashlib.sha256(b"sm2" + made.stdout[-33:]).digest()[:8]


def verifies_sm2(folder, path, message, signature):
    """Whether OpenSSL verifies r and s, which it takes in DER."""
    whole = lambda number: number.lstrip(b"\0") if number.lstrip(b"\0")[0] < 128 else b"\0" + number.lstrip(b"\0")
    parts = b"".join(b"\x02" + bytes([len(part)]) + part for part in (whole(signature[:32]), whole(signature[32:])))
    (folder / "signature").write_bytes(b"\x30" + bytes([len(parts)]) + parts)
    (folder / "message").write_bytes(message)
    said = openssl(
        "pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pkeyopt", f"distid:{SIGNER_ID}",
        "-keyform", "DER", "-inkey", path, "-sigfile", folder / "signature", "-in", folder / "message",
    )
    return said.returncode == 0 and b"Verified Successfully" in said.stdout


def check_sm2(folder, name, signers):
    cose = cbor2.loads(bytes.fromhex((GOLDEN / name).read_text()))
    body, unprotected, payload, signatures = cose.value
    if (cose.tag, unprotected, len(signatures)) != (98, {}, len(signers)):
        sys.exit(f"{name}: not the COSE_Sign that was expected")
    for signer, (header, _, signature) in zip(signers, signatures):
        path = secret_sm2(folder, signer)
        if cbor2.loads(header) != {1: SM2, 4: name_sm2(path)}:
            sys.exit(f"{name}: the header of key {signer} is {cbor2.loads(header)}")
        signed = lambda payload: cbor2.dumps(["Signature", body, header, b"", payload])
        if not verifies_sm2(folder, path, signed(payload), signature):
            sys.exit(f"{name}: the signature of key {signer} is not verified by OpenSSL")
        altered = payload[:-1] + bytes([payload[-1] ^ 1])
        refused = [
            (path, signed(altered), signature),
            (path, signed(payload), signature[:-1] + bytes([signature[-1] ^ 1])),
            (secret_sm2(folder, 77), signed(payload), signature),
        ]
        if any(verifies_sm2(folder, *one) for one in refused):
            sys.exit(f"{name}: something altered is verified")
    if name.startswith("grant"):
        grant = cbor2.loads(payload)
        digest = openssl("dgst", "-sm3", "-binary", given=b"a certificate of residence").stdout
        if (grant[HASH], grant[DOCUMENT]) != (SM3, digest):
            sys.exit(f"{name}: the document is digested otherwise")
    print(f"{name}: {len(signers)} signatures of SM2 verified by OpenSSL, {3 * len(signers)} alterations refused")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name, signers in SIGNERS_SM2.items():
            check_sm2(pathlib.Path(folder), name, signers)
    for name, signers in SIGNERS.items():
        message = bytes.fromhex((GOLDEN / name).read_text())
        for signer in signers:
            if not verifies(message, key(signer, signer)):
                sys.exit(f"{name}: the signature of key {signer} is not verified")
            if verifies(message, key(signer, 77)):
                sys.exit(f"{name}: verified with another key than {signer}")
        # A byte in the headers, in the payload, in the last signature.
        for at in (10, 70, len(message) - 1):
            altered = bytearray(message)
            altered[at] ^= 1
            if any(verifies(bytes(altered), key(signer, signer)) for signer in signers[-1:]):
                sys.exit(f"{name}: verified with byte {at} altered")
        print(f"{name}: {len(message)} bytes, {len(signers)} signatures verified, 3 alterations refused")


if __name__ == "__main__":
    main()
