"""Keys of SM2 in the hands of OpenSSL: another implementation than ours."""

import hashlib
import pathlib
import subprocess
import tempfile

# As firmware/seal/src/sm.rs has it.
SIGNER_ID = "1234567812345678"


def openssl(*arguments, given=b""):
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True)


class Key:
    """The key of a secret number of 32 bytes."""

    def __init__(self, secret):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name) / "key.der"
        # SEC 1 C.4, without the public half: OpenSSL finds it.
        body = bytes.fromhex("0201010420") + secret + bytes.fromhex("a00a06082a811ccf5501822d")
        self.path.write_bytes(bytes([0x30, len(body)]) + body)

    def public(self):
        """The point, compressed."""
        made = openssl("ec", "-inform", "DER", "-in", self.path, "-pubout", "-conv_form", "compressed", "-outform", "DER")
        return made.stdout[-33:]

    def name(self):
        """By which signatures name it."""
        return hashlib.sha256(b"sm2" + self.public()).digest()[:8]

    def _pkeyutl(self, message, *arguments):
        path = self.path.with_name("message")
        path.write_bytes(message)
        return openssl("pkeyutl", "-rawin", "-digest", "sm3", "-pkeyopt", f"distid:{SIGNER_ID}", "-keyform", "DER",
                       "-inkey", self.path, "-in", path, *arguments)

    def sign(self, message):
        """r and s, which OpenSSL writes as DER."""
        der = self._pkeyutl(message, "-sign").stdout
        end = 4 + der[3]
        return b"".join(part.lstrip(b"\0").rjust(32, b"\0") for part in (der[4:end], der[end + 2:]))

    def verifies(self, message, signature):
        whole = [part.lstrip(b"\0") for part in (signature[:32], signature[32:])]
        whole = [b"\0" + part if part[0] > 127 else part for part in whole]
        body = b"".join(bytes([2, len(part)]) + part for part in whole)
        path = self.path.with_name("signature")
        path.write_bytes(bytes([0x30, len(body)]) + body)
        said = self._pkeyutl(message, "-verify", "-sigfile", path)
        return said.returncode == 0 and b"Verified Successfully" in said.stdout
