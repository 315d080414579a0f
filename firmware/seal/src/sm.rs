//! SM2 signatures with SM3 digests (GB/T 32918.2 = GM/T 0003.2; GB/T 32905), as the state wants them of its own seals.
//!
//! A signature is `r` and `s`, 32 bytes each; a key is a compressed point. There is one encoding of each: what is zero, not
//! below the order, not on the curve, or written otherwise is refused. Who has a signature cannot make another of it, as
//! with ECDSA: turning `s` around changes `t = r + s`, with which it is verified. Only the owner of a key can sign twice; so
//! what is signed is named by a digest of the payload where twins would matter, see [`UseOf`](crate::receipt::UseOf).
//!
//! The standard takes a random number for each signature. Here it comes out of the key and the message (RFC 6979 with
//! SM3): a lock has no good source of chance, and one repeated number gives the key away.

use sm2::dsa::signature::{Signer as _, Verifier as _};
use sm2::dsa::{Signature, SigningKey, VerifyingKey};
use sm2::elliptic_curve::sec1::ToSec1Point as _;
use sm2::{PublicKey, Scalar};
use sm3::{Digest as _, Sm3};

use crate::keys::{Digest, SIGNATURE_BYTES};

/// The signer id where none is agreed on (GB/T 35276 §10): a key here has no other name than its own.
const SIGNER_ID: &str = "1234567812345678";

/// The SM3 digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    <[u8; 32]>::from(Sm3::digest(bytes)).into()
}

/// A secret key.
pub(crate) struct Secret(SigningKey);

impl Secret {
    /// The key of a number from 1 to the order less two; `None` for any other.
    pub(crate) fn new(secret: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_slice(SIGNER_ID, secret).ok()?;
        // With the order less one nothing can be signed.
        let next = **key.as_nonzero_scalar() + Scalar::ONE;
        (!bool::from(next.is_zero())).then_some(Self(key))
    }

    pub(crate) fn public(&self) -> [u8; 33] {
        compressed(self.0.verifying_key())
    }

    /// `None` in a case that has never come up, in which the standard takes another random number.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
        self.0.try_sign(message).ok().map(|signature| signature.to_bytes().into())
    }
}

/// Whether these bytes are a key.
pub(crate) fn is_key(key: &[u8; 33]) -> bool {
    read(key).is_some()
}

pub(crate) fn verifies(key: &[u8; 33], message: &[u8], signature: &[u8]) -> bool {
    let signature = Signature::from_slice(signature);
    read(key).is_some_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
}

fn read(key: &[u8; 33]) -> Option<VerifyingKey> {
    let read = VerifyingKey::new(SIGNER_ID, PublicKey::from_sec1_bytes(key).ok()?).ok()?;
    // The library reads half a point too.
    (compressed(&read) == *key).then_some(read)
}

fn compressed(key: &VerifyingKey) -> [u8; 33] {
    let point = key.to_sec1_point(true);
    // A point that is no zero has 33 bytes, and no key is zero.
    point.as_bytes().try_into().unwrap_or([0; 33])
}

#[cfg(test)]
mod tests {
    use crate::grant::HashAlgorithm;
    use crate::keys::{Algorithm, MemoryKey, PublicKey, Signer as _};

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    const SECRET: &str = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";
    const ORDER: &str = "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123";
    const FIELD: &str = "fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff";

    fn key() -> MemoryKey {
        MemoryKey::new(Algorithm::Sm2, &bytes(SECRET)).unwrap()
    }

    /// A number and another, or one taken from it.
    fn sum(number: [u8; 32], other: u8, add: impl Fn(u8, u8) -> (u8, bool)) -> [u8; 32] {
        let (mut number, mut carry) = (number, other);
        for byte in number.iter_mut().rev() {
            let (next, is_over) = add(*byte, carry);
            (*byte, carry) = (next, u8::from(is_over));
        }
        number
    }

    #[test]
    fn it_verifies_what_the_standard_signs() {
        // GB/T 32918.5 annex A.2, "message digest" by 1234567812345678.
        let public = bytes("0309f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020");
        let signature: [u8; 64] = bytes(
            "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3\
             b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa",
        );
        assert_eq!(key().public(), PublicKey::Sm2(public));
        assert!(key().public().verifies(b"message digest", &signature));
        assert!(!key().public().verifies(b"message digests", &signature));
        // Signed here it is another one, as the number is, and always the same.
        let own = key().sign(b"message digest").unwrap();
        assert!(own != signature && key().public().verifies(b"message digest", &own));
        assert_eq!(key().sign(b"message digest"), Some(own));
        assert_ne!(key().sign(b"message digests").unwrap()[..32], own[..32], "a number for each message");
    }

    #[test]
    fn it_digests_as_the_standard_does() {
        // GB/T 32905 annex A.1.
        let abc = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0";
        assert_eq!(HashAlgorithm::Sm3.digest(b"abc"), Some(bytes(abc).into()));
    }

    #[test]
    fn a_signature_has_one_encoding_and_no_twin() {
        let (message, public) = (b"message digest", key().public());
        let good = key().sign(message).unwrap();
        let (r, s) = (&good[..32], &good[32..]);
        let (zero, order) = ([0; 32], bytes::<32>(ORDER));
        let turned = order.iter().zip(s).rev().scan(0, |borrow, (&order, &s)| {
            let left = i16::from(order) - i16::from(s) - *borrow;
            *borrow = i16::from(left < 0);
            Some(left as u8)
        });
        let mut turned: alloc::vec::Vec<u8> = turned.collect();
        turned.reverse();
        for (signature, why) in [
            ([zero.as_slice(), s].concat(), "r is zero"),
            ([r, &zero].concat(), "s is zero"),
            ([&order, s].concat(), "r is the order"),
            ([r, &order].concat(), "s is the order"),
            ([&[0xff; 32], s].concat(), "r is beyond it"),
            ([r, &turned].concat(), "s turned around: with ECDSA it would be another signature"),
            ([&turned, s].concat(), "r and s make zero"),
            ([s, r].concat(), "the wrong way round"),
            (good[..63].to_vec(), "cut"),
            ([&good[..], &[0]].concat(), "longer"),
            (alloc::vec![], "nothing"),
        ] {
            assert!(!public.verifies(message, &signature), "{why}");
        }
        assert!(public.verifies(message, &good));
    }

    #[test]
    fn a_key_has_one_encoding_and_is_on_the_curve() {
        let point = |first: u8, x: [u8; 32]| {
            let mut bytes = [first; 33];
            bytes[1..].copy_from_slice(&x);
            PublicKey::Sm2(bytes)
        };
        let small = |x: u8| sum([0; 32], x, u8::overflowing_add);
        let (on, off): (alloc::vec::Vec<u8>, _) = (0..32).partition(|&x| point(2, small(x)).is_usable());
        assert!(on.len() > 8 && off.len() > 8, "half of all numbers are no point's");
        for x in on {
            assert!(point(3, small(x)).is_usable());
            let beyond = sum(bytes(FIELD), x, u8::overflowing_add);
            assert!(!point(2, beyond).is_usable() && !point(3, beyond).is_usable(), "{x}, spelled larger");
            for first in [0, 1, 4, 5, 6, 7] {
                assert!(!point(first, small(x)).is_usable(), "{first}");
            }
        }
        let good = key().sign(b"message").unwrap();
        let PublicKey::Sm2(mut half) = key().public() else { panic!("an SM2 key") };
        assert!(!point(2, small(off[0])).verifies(b"message", &good));
        half[0] = 5;
        assert!(!PublicKey::Sm2(half).verifies(b"message", &good), "half a point");
        for (secret, expected, why) in [
            ([0; 32], false, "zero"),
            (sum(bytes(ORDER), 2, u8::overflowing_sub), true, "the highest"),
            (sum(bytes(ORDER), 1, u8::overflowing_sub), false, "it could sign nothing"),
            (bytes(ORDER), false, "the order"),
            ([0xff; 32], false, "beyond it"),
        ] {
            let key = MemoryKey::new(Algorithm::Sm2, &secret);
            assert_eq!(key.as_ref().is_some_and(|key| key.sign(b"message").is_some()), expected, "{why}");
            assert_eq!(key.is_some(), expected, "{why}");
        }
    }
}
