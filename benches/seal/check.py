#!/usr/bin/env python3
"""A COSE library that is not ours reads the frozen grant, receipt and delegation and verifies every signature; what is altered
fails. Those of SM2 no COSE library knows: OpenSSL verifies them over the bytes that RFC 9052 wants signed.

  python benches/seal/check.py                 with the package `cwt` installed, as ./test does it
"""

import hashlib
import pathlib
import sys

import cbor2
import sm2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cwt import COSE, COSEKey

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "firmware" / "seal" / "src" / "tests"
# The secrets of the tests: 32 times the same byte.
SIGNERS = {"grant.hex": [1, 2], "receipt.hex": [9], "delegation.hex": [2]}


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


# By SM2, with the numbers of firmware/seal/src/keys.rs and grant.rs.
SIGNERS_SM2 = {"grant-sm2.hex": [1, 2], "receipt-sm2.hex": [9], "delegation-sm2.hex": [2]}
SM2, SM3 = -66501, -66401
DOCUMENT, HASH = 6, 18  # of a grant


def check_sm2(name, signers):
    cose = cbor2.loads(bytes.fromhex((GOLDEN / name).read_text()))
    body, unprotected, payload, signatures = cose.value
    if (cose.tag, unprotected, len(signatures)) != (98, {}, len(signers)):
        sys.exit(f"{name}: not the COSE_Sign that was expected")
    stranger = sm2.Key(bytes([77]) * 32)
    for signer, (header, _, signature) in zip(signers, signatures):
        key = sm2.Key(bytes([signer]) * 32)
        if cbor2.loads(header) != {1: SM2, 4: key.name()}:
            sys.exit(f"{name}: the header of key {signer} is {cbor2.loads(header)}")
        # RFC 9052 §4.4.
        signed = lambda payload: cbor2.dumps(["Signature", body, header, b"", payload])
        if not key.verifies(signed(payload), signature):
            sys.exit(f"{name}: the signature of key {signer} is not verified by OpenSSL")
        altered = lambda one: one[:-1] + bytes([one[-1] ^ 1])
        if (key.verifies(signed(altered(payload)), signature) or key.verifies(signed(payload), altered(signature))
                or stranger.verifies(signed(payload), signature)):
            sys.exit(f"{name}: something altered is verified")
    if name.startswith("grant"):
        grant = cbor2.loads(payload)
        digest = sm2.openssl("dgst", "-sm3", "-binary", given=b"a certificate of residence").stdout
        if (grant[HASH], grant[DOCUMENT]) != (SM3, digest):
            sys.exit(f"{name}: the document is digested otherwise")
    print(f"{name}: {len(signers)} signatures of SM2 verified by OpenSSL, {3 * len(signers)} alterations refused")


def main():
    for name, signers in SIGNERS_SM2.items():
        check_sm2(name, signers)
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
