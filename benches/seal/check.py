#!/usr/bin/env python3
"""A COSE library that is not ours reads the frozen grant, receipt and delegation and verifies every signature; what is altered fails.

  python benches/seal/check.py                 with the package `cwt` installed, as ./test does it
"""

import hashlib
import pathlib
import sys

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


def main():
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
