//! Keys, signatures and digests, each with its algorithm said.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
pub type Digest = ByteArray<32>;
/// Length of a signature in bytes, of every algorithm here.
pub const SIGNATURE_BYTES: usize = 64;

/// The SHA-256 digest of parts, one after the other.
pub fn digest(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    <[u8; 32]>::from(hash.finalize()).into()
}

/// How something is signed, numbered as COSE does. SM2 with SM3 will stand beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032, RFC 9864 §2.2), verified strictly: no weak keys, one signature for one message.
    #[n(-19)]
    Ed25519,
}

impl Algorithm {
    /// Its number.
    pub fn number(self) -> i32 {
        match self {
            Algorithm::Ed25519 => -19,
        }
    }
}

/// Names a key: the first eight bytes of the digest of its algorithm and bytes.
pub type KeyId = ByteArray<8>;

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct PublicKey {
    /// What it verifies.
    #[n(0)]
    pub algorithm: Algorithm,
    /// The key, as its algorithm writes it.
    #[n(1)]
    pub bytes: ByteArray<32>,
}

impl PublicKey {
    /// Its name.
    pub fn id(&self) -> KeyId {
        let Algorithm::Ed25519 = self.algorithm;
        let all = digest(&[b"ed25519", self.bytes.as_ref()]);
        let mut id = [0; 8];
        id.copy_from_slice(&all[..8]);
        id.into()
    }

    /// Whether this key signed the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Algorithm::Ed25519 = self.algorithm;
        let key = VerifyingKey::from_bytes(&self.bytes);
        let signature = Signature::from_slice(signature);
        key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()))
    }
}

/// Whoever can sign: a key in memory, a secure element, or somebody's own device. The secret need not be here.
pub trait Signer {
    /// The other half of the key.
    fn public(&self) -> PublicKey;

    /// Signs a message; `None` when it cannot, for example because the element does not answer.
    fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]>;
}

/// An Ed25519 key in memory.
pub struct MemoryKey(SigningKey);

impl MemoryKey {
    /// The key of these 32 secret random bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }
}

impl Signer for MemoryKey {
    fn public(&self) -> PublicKey {
        PublicKey { algorithm: Algorithm::Ed25519, bytes: self.0.verifying_key().to_bytes().into() }
    }

    fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
        Some(self.0.sign(message).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    #[test]
    fn it_signs_and_verifies_as_rfc_8032_does() {
        // RFC 8032 §7.1, test 2.
        let key = MemoryKey::from_secret(&bytes(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        ));
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(*key.public().bytes, bytes(public));
        assert_eq!(key.sign(&[0x72]), Some(signature));
        assert!(key.public().verifies(&[0x72], &signature));
        assert!(!key.public().verifies(&[0x73], &signature));
        let weak = PublicKey { bytes: [0; 32].into(), ..key.public() };
        assert!(!weak.verifies(&[0x72], &signature));
        assert_ne!(weak.id(), key.public().id());
    }

    #[test]
    fn a_digest_is_of_all_parts() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(*digest(&[]), bytes(empty));
        assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"abc"]));
    }
}
