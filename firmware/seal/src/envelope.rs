//! Signed bytes: COSE_Sign (RFC 9052 §4.1) in one deterministic form, with little in it.
//!
//! ```text
//! 98([ {3: kind}, {}, payload, [ [ {1: algorithm, 4: key id}, {}, signature ], … ] ])
//! ```
//!
//! Everything that matters is protected: what kind of thing it is, so that nothing signed as one can pass for another, and
//! of each signature its algorithm and key. Reading gives no more than bytes: who must have signed is for the reader to say,
//! by asking for signatures of keys it trusts.

use alloc::vec::Vec;

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use crate::form::is_plain;
use crate::keys::{KeyId, PublicKey, SIGNATURE_BYTES, Signer};

/// Most signatures: an issuer and seven approvers.
pub const MAX_SIGNATURES: usize = 8;
/// Most bytes of an envelope.
pub const MAX_BYTES: usize = 4096;

/// Tag of COSE_Sign (RFC 9052 §2).
const COSE_SIGN: u64 = 98;
/// Labels of headers (RFC 9052 §3.1).
const ALGORITHM: u8 = 1;
const CONTENT_TYPE: u8 = 3;
const KEY_ID: u8 = 4;

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`Grant`](crate::grant::Grant).
    Grant,
    /// A [`Receipt`](crate::receipt::Receipt).
    Receipt,
    /// A [`Hello`](crate::talk::Hello).
    Hello,
    /// An [`Answer`](crate::talk::Answer).
    Answer,
    /// A [`Policy`](crate::policy::Policy).
    Policy,
    /// A [`Notice`](crate::notice::Notice).
    Notice,
    /// A [`Delegation`](crate::delegation::Delegation).
    Delegation,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::Grant, Kind::Receipt, Kind::Hello, Kind::Answer, Kind::Policy, Kind::Notice, Kind::Delegation];

    /// Its content type.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Grant => "application/vnd.watchfire.grant+cbor",
            Kind::Receipt => "application/vnd.watchfire.receipt+cbor",
            Kind::Hello => "application/vnd.watchfire.hello+cbor",
            Kind::Answer => "application/vnd.watchfire.answer+cbor",
            Kind::Policy => "application/vnd.watchfire.policy+cbor",
            Kind::Notice => "application/vnd.watchfire.notice+cbor",
            Kind::Delegation => "application/vnd.watchfire.delegation+cbor",
        }
    }
}

/// Why bytes are not an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeError {
    /// More than [`MAX_BYTES`].
    TooLarge,
    /// Not a COSE_Sign of this kind, or not in its deterministic form.
    Malformed,
    /// No signature, more than [`MAX_SIGNATURES`], or two of one key.
    Signatures,
}

/// A signature and by which key it claims to be. One by an algorithm that is not known here counts for nothing, and does
/// not keep the others from counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Number of the algorithm.
    pub algorithm: i32,
    /// By which key.
    pub key: KeyId,
    /// The signature.
    pub signature: Vec<u8>,
}

/// A payload with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the payload is.
    pub kind: Kind,
    /// The payload.
    pub payload: &'a [u8],
    /// At least one, each of another key.
    pub signatures: Vec<Signed>,
}

impl<'a> Envelope<'a> {
    /// What these bytes claim to be, if they begin as one of ours.
    pub fn kind_of(bytes: &[u8]) -> Option<Kind> {
        let mut d = Decoder::new(bytes);
        let is_cose = d.tag().ok()? == Tag::new(COSE_SIGN) && d.array().ok()? == Some(4);
        let header = d.bytes().ok().filter(|_| is_cose)?;
        Kind::ALL.into_iter().find(|&kind| body_header(kind) == header)
    }

    /// Reads an envelope of this kind.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn read(kind: Kind, bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_BYTES {
            return Err(EnvelopeError::TooLarge);
        }
        let envelope = Some(bytes).filter(|bytes| is_plain(bytes)).and_then(|bytes| parsed(kind, bytes));
        let envelope = envelope.ok_or(EnvelopeError::Malformed)?;
        let signatures = &envelope.signatures;
        let repeats =
            |(at, signed): (usize, &Signed)| signatures[..at].iter().any(|other| other.key == signed.key);
        if signatures.is_empty()
            || signatures.len() > MAX_SIGNATURES
            || signatures.iter().enumerate().any(repeats)
        {
            return Err(EnvelopeError::Signatures);
        }
        // There is one form only: no second spelling of a number, no other header, nothing behind it.
        if envelope.to_bytes() != bytes {
            return Err(EnvelopeError::Malformed);
        }
        Ok(envelope)
    }

    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        written(|e| {
            e.tag(Tag::new(COSE_SIGN))?.array(4)?;
            e.bytes(&body_header(self.kind))?.map(0)?.bytes(self.payload)?;
            e.array(self.signatures.len() as u64)?;
            for signed in &self.signatures {
                e.array(3)?
                    .bytes(&signer_header(signed.algorithm, &signed.key))?
                    .map(0)?
                    .bytes(&signed.signature)?;
            }
            Ok(())
        })
    }

    /// Whether the owner of this key signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let id = key.id();
        let signed = self
            .signatures
            .iter()
            .find(|signed| signed.key == id && signed.algorithm == key.algorithm().number());
        signed.is_some_and(|signed| {
            key.verifies(&to_be_signed(self.kind, key, self.payload), &signed.signature)
        })
    }

    /// Signs a payload by each signer in turn; `None` when one cannot.
    pub fn sign(kind: Kind, payload: &'a [u8], signers: &[&dyn Signer]) -> Option<Self> {
        let sign = |signer: &&dyn Signer| {
            let key = signer.public();
            let signature: [u8; SIGNATURE_BYTES] = signer.sign(&to_be_signed(kind, &key, payload))?;
            Some(Signed { algorithm: key.algorithm().number(), key: key.id(), signature: signature.into() })
        };
        Some(Self { kind, payload, signatures: signers.iter().map(sign).collect::<Option<_>>()? })
    }
}

/// What the owner of `key` signs: the Sig_structure of RFC 9052 §4.4. An approver's browser or card signs these bytes.
pub fn to_be_signed(kind: Kind, key: &PublicKey, payload: &[u8]) -> Vec<u8> {
    written(|e| {
        e.array(5)?.str("Signature")?.bytes(&body_header(kind))?;
        e.bytes(&signer_header(key.algorithm().number(), &key.id()))?.bytes(&[])?.bytes(payload)?;
        Ok(())
    })
}

fn body_header(kind: Kind) -> Vec<u8> {
    written(|e| e.map(1)?.u8(CONTENT_TYPE)?.str(kind.as_str())?.ok())
}

fn signer_header(algorithm: i32, key: &KeyId) -> Vec<u8> {
    written(|e| e.map(2)?.u8(ALGORITHM)?.i32(algorithm)?.u8(KEY_ID)?.encode(key)?.ok())
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

/// What is written into memory, which has no way to fail.
fn written(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = write(&mut Encoder::new(&mut bytes));
    bytes
}

/// What it reads is loose: the caller compares with what would be written.
fn parsed(kind: Kind, bytes: &[u8]) -> Option<Envelope<'_>> {
    let mut d = Decoder::new(bytes);
    let is_cose = d.tag().ok()? == Tag::new(COSE_SIGN) && d.array().ok()? == Some(4);
    if !is_cose || d.bytes().ok()? != body_header(kind) || d.map().ok()? != Some(0) {
        return None;
    }
    let payload = d.bytes().ok()?;
    let count = usize::try_from(d.array().ok()??).ok()?;
    let mut signatures = Vec::with_capacity(count.min(MAX_SIGNATURES));
    // One more than there may be is enough to know.
    for _ in 0..count.min(MAX_SIGNATURES + 1) {
        d.array().ok()?;
        let mut header = Decoder::new(d.bytes().ok()?);
        header.map().ok()?;
        header.u8().ok()?;
        let algorithm = header.i32().ok()?;
        header.u8().ok()?;
        let key = header.decode().ok()?;
        d.map().ok()?;
        let signature = d.bytes().ok()?.into();
        signatures.push(Signed { algorithm, key, signature });
    }
    Some(Envelope { kind, payload, signatures })
}
