//! Keys, signatures and digests, each with its algorithm said.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::bytes::ByteArray;
use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
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

/// How something is signed, numbered as COSE does.
///
/// A build without the feature `sm` knows the form of an SM2 key and cannot verify with it: such signatures count for nothing
/// there, and rules that name such keys are refused, see [`Policy::open`](crate::policy::Policy::open).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032, RFC 9864 §2.2), verified strictly: no weak keys, one signature for one message.
    #[n(-19)]
    Ed25519,
    /// SM2 with SM3 (GB/T 32918.2 = GM/T 0003.2) under the usual signer id, see `sm`. COSE has registered no number for it: this
    /// is one for private use (RFC 9053 §2, below -65536), by the last arc of its OID, 1.2.156.10197.1.501.
    #[n(-66501)]
    Sm2,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::Sm2];

    /// Its number.
    pub fn number(self) -> i32 {
        match self {
            Algorithm::Ed25519 => -19,
            Algorithm::Sm2 => -66_501,
        }
    }

    /// Its word, for people and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::Sm2 => "sm2",
        }
    }

    /// Whether this build can sign and verify by it.
    pub const fn is_built_in(self) -> bool {
        match self {
            Algorithm::Ed25519 => true,
            Algorithm::Sm2 => cfg!(feature = "sm"),
        }
    }
}

/// Names a key: the first eight bytes of the SHA-256 digest of its algorithm's word and its bytes.
pub type KeyId = ByteArray<8>;

/// A public key, as its algorithm writes it. In CBOR: its algorithm's number, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublicKey {
    /// Of Ed25519 (RFC 8032 §5.1.5).
    Ed25519([u8; 32]),
    /// Of SM2: a point, compressed, so that it begins with 2 or 3 (GB/T 32918.1 §4.2.9).
    Sm2([u8; 33]),
}

impl PublicKey {
    /// The key of these bytes; `None` when a key of this algorithm cannot have them. Whether an SM2 key is a point of the
    /// curve is seen when it is used, see [`is_usable`](Self::is_usable).
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Ed25519 => bytes.try_into().map(PublicKey::Ed25519).ok(),
            Algorithm::Sm2 if matches!(bytes.first(), Some(2 | 3)) => {
                bytes.try_into().map(PublicKey::Sm2).ok()
            }
            Algorithm::Sm2 => None,
        }
    }

    /// What it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            PublicKey::Ed25519(_) => Algorithm::Ed25519,
            PublicKey::Sm2(_) => Algorithm::Sm2,
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            PublicKey::Ed25519(bytes) => bytes,
            PublicKey::Sm2(bytes) => bytes,
        }
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        let all = digest(&[self.algorithm().as_str().as_bytes(), self.bytes()]);
        let mut id = [0; 8];
        id.copy_from_slice(&all[..8]);
        id.into()
    }

    /// Whether anything could verify with it here: the build has its algorithm, and it is a point of the curve.
    pub fn is_usable(&self) -> bool {
        match self {
            PublicKey::Ed25519(bytes) => VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak()),
            #[cfg(feature = "sm")]
            PublicKey::Sm2(bytes) => crate::sm::is_key(bytes),
            #[cfg(not(feature = "sm"))]
            PublicKey::Sm2(_) => false,
        }
    }

    /// Whether this key signed the message. By an algorithm that this build lacks, none did.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::Ed25519(bytes) => {
                let key = VerifyingKey::from_bytes(bytes);
                let signature = Signature::from_slice(signature);
                key.is_ok_and(|key| {
                    signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
                })
            }
            #[cfg(feature = "sm")]
            PublicKey::Sm2(bytes) => crate::sm::verifies(bytes, message, signature),
            #[cfg(not(feature = "sm"))]
            PublicKey::Sm2(_) => false,
        }
    }
}

impl<C> Encode<C> for PublicKey {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.encode_with(self.algorithm(), ctx)?.bytes(self.bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for PublicKey {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let is_pair = d.array()? == Some(2);
        let (algorithm, bytes) = (d.decode_with(ctx)?, d.bytes()?);
        let key = Self::new(algorithm, bytes).filter(|_| is_pair);
        key.ok_or_else(|| decode::Error::message("not a key of its algorithm"))
    }
}

/// Whoever can sign: a key in memory, a secure element, or somebody's own device. The secret need not be here.
pub trait Signer {
    /// The other half of the key.
    fn public(&self) -> PublicKey;

    /// Signs a message; `None` when it cannot, for example because the element does not answer.
    fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]>;
}

/// A key in memory.
pub struct MemoryKey(Secret);

enum Secret {
    Ed25519(SigningKey),
    #[cfg(feature = "sm")]
    Sm2(crate::sm::Secret),
}

impl MemoryKey {
    /// The Ed25519 key of these 32 secret random bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(Secret::Ed25519(SigningKey::from_bytes(secret)))
    }

    /// The key of these 32 secret random bytes; `None` when this build lacks the algorithm, or, for SM2 once in four thousand
    /// million times, they are no key: take others.
    pub fn new(algorithm: Algorithm, secret: &[u8; 32]) -> Option<Self> {
        match algorithm {
            Algorithm::Ed25519 => Some(Self::from_secret(secret)),
            #[cfg(feature = "sm")]
            Algorithm::Sm2 => crate::sm::Secret::new(secret).map(|secret| Self(Secret::Sm2(secret))),
            #[cfg(not(feature = "sm"))]
            Algorithm::Sm2 => None,
        }
    }
}

impl Signer for MemoryKey {
    fn public(&self) -> PublicKey {
        match &self.0 {
            Secret::Ed25519(key) => PublicKey::Ed25519(key.verifying_key().to_bytes()),
            #[cfg(feature = "sm")]
            Secret::Sm2(key) => PublicKey::Sm2(key.public()),
        }
    }

    fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
        match &self.0 {
            Secret::Ed25519(key) => Some(key.sign(message).to_bytes()),
            #[cfg(feature = "sm")]
            Secret::Sm2(key) => key.sign(message),
        }
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
        assert_eq!(key.public(), PublicKey::Ed25519(bytes(public)));
        assert_eq!(key.sign(&[0x72]), Some(signature));
        assert!(key.public().verifies(&[0x72], &signature));
        assert!(!key.public().verifies(&[0x73], &signature));
        let weak = PublicKey::Ed25519([0; 32]);
        assert!(!weak.verifies(&[0x72], &signature) && !weak.is_usable() && key.public().is_usable());
        assert_ne!(weak.id(), key.public().id());
    }

    #[test]
    fn a_digest_is_of_all_parts() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(*digest(&[]), bytes(empty));
        assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"abc"]));
    }

    #[test]
    fn a_key_has_the_length_of_its_algorithm() {
        let sm2: [u8; 33] = core::array::from_fn(|at| if at == 0 { 2 } else { 9 });
        for (key, head) in [
            (PublicKey::Ed25519([7; 32]), &[0x82, 0x32, 0x58, 32][..]),
            (PublicKey::Sm2(sm2), &[0x82, 0x3a, 0, 1, 0x03, 0xc4, 0x58, 33]),
        ] {
            let bytes = minicbor::to_vec(key).unwrap();
            assert_eq!(bytes, [head, key.bytes()].concat());
            assert_eq!(minicbor::decode::<PublicKey>(&bytes).unwrap(), key);
            assert_eq!(
                i64::from(key.algorithm().number()),
                minicbor::decode::<(i64, &minicbor::bytes::ByteSlice)>(&bytes).unwrap().0
            );
        }
        for (algorithm, bytes, why) in [
            (Algorithm::Ed25519, &sm2[..], "of SM2"),
            (Algorithm::Ed25519, &[7; 31], "too short"),
            (Algorithm::Sm2, &[2; 32], "of Ed25519"),
            (Algorithm::Sm2, &[2; 65], "too long"),
            (Algorithm::Sm2, &[4; 33], "not compressed"),
            (Algorithm::Sm2, &[5; 33], "one half of a point"),
            (Algorithm::Sm2, &[], "nothing"),
        ] {
            assert_eq!(PublicKey::new(algorithm, bytes), None, "{why}");
            let bytes =
                minicbor::to_vec((algorithm, minicbor::bytes::ByteVec::from(bytes.to_vec()))).unwrap();
            assert!(minicbor::decode::<PublicKey>(&bytes).is_err(), "{why}");
        }
    }
}
