//! What may be stamped: how often, where, when, for whom, and which paper.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use wire::Datum;

use crate::form::{bytes_of, is_plain, is_text, one_form};
use crate::keys::{self, Digest};

/// The version written here.
pub const VERSION: u8 = 1;
/// Most bytes of the texts in a grant.
pub const MAX_TEXT: usize = 64;
/// Most uses of one grant: a longer run of papers is for somebody to look at again.
pub const MAX_USES: u16 = 200;
/// Longest time for which a grant is valid, in seconds: a week. What is not used by then is applied for again.
pub const MAX_VALID_S: u64 = 7 * 86_400;

/// Widest fence, in metres: a county.
pub const MAX_RADIUS_M: u32 = 50_000;
/// Most people who may use a grant beside the applicant.
pub const MAX_OPERATORS: usize = 8;

/// 128 random bits that name a grant, a boot, or a question.
pub type Id = ByteArray<16>;

/// How a document was digested, numbered as COSE does. A seal never sees the document: it takes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum HashAlgorithm {
    /// SHA-256 (RFC 9054 §2).
    #[n(-16)]
    Sha256,
    /// SM3 (GB/T 32905). COSE has registered no number for it: this is one for private use (RFC 9053 §2, below -65536), by the
    /// last arc of its OID, 1.2.156.10197.1.401.
    #[n(-66401)]
    Sm3,
}

impl HashAlgorithm {
    /// All of them.
    pub const ALL: [HashAlgorithm; 2] = [HashAlgorithm::Sha256, HashAlgorithm::Sm3];

    /// Its word, for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            HashAlgorithm::Sha256 => "sha-256",
            HashAlgorithm::Sm3 => "sm3",
        }
    }

    /// The digest of a document; `None` when this build lacks the feature `sm` that it takes.
    pub fn digest(self, document: &[u8]) -> Option<Digest> {
        match self {
            HashAlgorithm::Sha256 => Some(keys::digest(&[document])),
            #[cfg(feature = "sm")]
            HashAlgorithm::Sm3 => Some(crate::sm::digest(document)),
            #[cfg(not(feature = "sm"))]
            HashAlgorithm::Sm3 => None,
        }
    }
}

/// A circle on the ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Fence {
    /// On which ellipsoid.
    #[cbor(n(0), with = "crate::datum")]
    pub datum: Datum,
    /// Degrees north, times ten million.
    #[n(1)]
    pub lat_e7: i32,
    /// Degrees east, times ten million.
    #[n(2)]
    pub lon_e7: i32,
    /// Metres around, at most [`MAX_RADIUS_M`].
    #[n(3)]
    pub radius_m: u32,
}

/// What has to be there beside the grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Evidence {
    /// A photograph of the paper before.
    #[n(0)]
    pub before: bool,
    /// A photograph of the impression after.
    #[n(1)]
    pub after: bool,
    /// The applicant has shown who they are: a PIN, a card, a fingerprint.
    #[n(2)]
    pub person: bool,
}

/// Leave to stamp one document. The issuer and each approver sign it, see [`envelope`](crate::envelope).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// Its name.
    #[n(1)]
    pub id: Id,
    /// The seal, at most [`MAX_TEXT`] bytes, as all texts here.
    #[n(2)]
    pub seal: String,
    /// Rises with each grant for this seal, so that none comes twice.
    #[n(3)]
    pub sequence: u64,
    /// The matter, as the list of powers names it.
    #[n(4)]
    pub matter: String,
    /// Who asked for it: a pseudonym that the authority can resolve.
    #[n(5)]
    pub applicant: String,
    /// The digest of the document.
    #[n(6)]
    pub document: Digest,
    /// Pages of it.
    #[n(7)]
    pub pages: u16,
    /// How often it may be used, 1 to [`MAX_USES`].
    #[n(8)]
    pub max_uses: u16,
    /// From when on, in seconds since 1970 UTC.
    #[n(9)]
    pub not_before_s: u64,
    /// Until when, the last second excluded; at most [`MAX_VALID_S`] later.
    #[n(10)]
    pub expires_s: u64,
    /// Where; `None` for anywhere.
    #[n(11)]
    pub fence: Option<Fence>,
    /// What else has to be there.
    #[n(12)]
    pub evidence: Evidence,
    /// The device must have heard of all revocations up to this one.
    #[n(13)]
    pub min_epoch: u32,
    /// The question of the device that it answers; then its first use needs no clock.
    #[n(14)]
    pub nonce: Option<Id>,
    /// Version of the rules that say who has to approve.
    #[n(15)]
    pub policy: u32,
    /// Only a rehearsal: a real seal refuses it.
    #[n(16)]
    pub is_test: bool,
    /// Who may use it beside the applicant, at most [`MAX_OPERATORS`].
    #[n(17)]
    pub operators: Vec<String>,
    /// How the document was digested.
    #[n(18)]
    pub hash: HashAlgorithm,
}

/// Why bytes are not a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantError {
    /// Not a grant, or not in its one form.
    Malformed,
    /// A version not known here.
    Version,
    /// A value that no grant may have.
    Impossible,
}

impl Grant {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads a grant that says nothing impossible.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn read(bytes: &[u8]) -> Result<Self, GrantError> {
        if !is_plain(bytes) {
            return Err(GrantError::Malformed);
        }
        // What a later version holds cannot be known here, but its number stands first.
        let mut head = minicbor::Decoder::new(bytes);
        let is_first = head.map().is_ok_and(|count| count > Some(0)) && head.u8().is_ok_and(|key| key == 0);
        if is_first && head.u8().is_ok_and(|version| version != VERSION) {
            return Err(GrantError::Version);
        }
        let grant: Self = one_form(bytes).ok_or(GrantError::Malformed)?;
        if grant.is_possible() { Ok(grant) } else { Err(GrantError::Impossible) }
    }

    fn is_possible(&self) -> bool {
        let is_place = |fence: &Fence| {
            fence.lat_e7.unsigned_abs() <= 900_000_000
                && fence.lon_e7.unsigned_abs() <= 1_800_000_000
                && (1..=MAX_RADIUS_M).contains(&fence.radius_m)
        };
        let valid_s = self.expires_s.checked_sub(self.not_before_s);
        [&self.seal, &self.matter, &self.applicant]
            .into_iter()
            .chain(&self.operators)
            .all(|text| is_text(text))
            && self.operators.len() <= MAX_OPERATORS
            && self.pages > 0
            && (1..=MAX_USES).contains(&self.max_uses)
            && valid_s.is_some_and(|valid_s| (1..=MAX_VALID_S).contains(&valid_s))
            && self.sequence > 0
            && self.fence.as_ref().is_none_or(is_place)
    }
}

/// A grant as a device gets it: its envelope, and the proof that this was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Presented<'a> {
    /// The signed grant.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub grant: &'a [u8],
    /// The proof.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub proof: &'a [u8],
}

/// Most bytes of a grant with its proof: what a seal has to hold in memory, and a serial line carries in half a second.
pub const MAX_PRESENTED: usize = 4096;

impl<'a> Presented<'a> {
    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads them; `None` when they are something else, or not in the one form.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        one_form(bytes)
    }
}
