//! The rules of a seal: who issues, who approves what, who watches, and what it may do alone.
//!
//! Whoever can change the rules can stamp. So they are signed by people who do nothing else, with keys that no server has
//! (the roots), and logged under the eyes of witnesses like every grant. A device is given the roots when it is
//! commissioned, and takes rules only in ascending order of their numbers.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::envelope::{Envelope, Kind};
use crate::form::{bytes_of, is_text, one_form};
use crate::grant::{Evidence, MAX_USES, Presented};
use crate::keys::{Algorithm, PublicKey, digest};
use crate::note::NoteKey;
use crate::proof::{LogTrust, Proof};
use crate::trust::{Approver, Lease, Rule, Trust};

/// The version written here.
pub const VERSION: u8 = 1;
/// Most issuers: one, and the one that takes its place.
pub const MAX_ISSUERS: usize = 2;
/// Most keys of approvers.
pub const MAX_APPROVERS: usize = 24;
/// Most matters.
pub const MAX_RULES: usize = 48;
/// Most witnesses.
pub const MAX_WITNESSES: usize = 8;

/// A log or a witness: its name and its key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Named {
    /// The name.
    #[n(0)]
    pub name: String,
    /// The key.
    #[n(1)]
    pub key: PublicKey,
}

/// What a matter needs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Matter {
    /// The matter, as the list of powers names it.
    #[n(0)]
    pub matter: String,
    /// Who may approve it: positions in [`Policy::approvers`].
    #[n(1)]
    pub approvers: Vec<u8>,
    /// How many people have to.
    #[n(2)]
    pub needed: u8,
    /// Evidence that a grant has to ask for.
    #[n(3)]
    pub evidence: Evidence,
    /// Most uses of one grant.
    #[n(4)]
    pub most_uses: u16,
    /// Whether who may approve it may let a [deputy](crate::delegation) do so.
    #[cbor(n(5), with = "crate::form::flag", has_nil)]
    pub may_be_delegated: bool,
}

/// The rules of one seal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Policy {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// The seal.
    #[n(1)]
    pub seal: String,
    /// Number of the rules, rising, from 1.
    #[n(2)]
    pub number: u32,
    /// Whether it is a seal for rehearsals.
    #[n(3)]
    pub is_test: bool,
    /// Who issues grants, at most [`MAX_ISSUERS`].
    #[n(4)]
    pub issuers: Vec<PublicKey>,
    /// The log.
    #[n(5)]
    pub log: Named,
    /// Its witnesses, at most [`MAX_WITNESSES`].
    #[n(6)]
    pub witnesses: Vec<Named>,
    /// How many of them have to have seen a grant.
    #[n(7)]
    pub witnesses_needed: u8,
    /// Who approves, each with one key, at most [`MAX_APPROVERS`].
    #[n(8)]
    pub approvers: Vec<Named>,
    /// What may be stamped, at most [`MAX_RULES`]: what is not there cannot be.
    #[n(9)]
    pub matters: Vec<Matter>,
    /// What it may do without contact.
    #[n(10)]
    pub lease: Lease,
}

/// Who decides about rules. It is written into the device when it is commissioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The seal.
    pub seal: String,
    /// Their keys.
    pub keys: Vec<PublicKey>,
    /// How many have to sign: at least one, whatever is said here.
    pub needed: usize,
    /// The log in which the first rules stand; later ones stand where the ones before them say.
    pub log: LogTrust,
}

/// Why rules are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyError {
    /// Not rules, not in their one form, or rules that cannot be.
    Malformed,
    /// Too few roots have signed them.
    Roots,
    /// Not in the log under the eyes of enough witnesses.
    Proof,
    /// For another seal.
    OtherSeal,
    /// They, or the roots, name keys of an algorithm that this build lacks: it would refuse what others take, and never say
    /// why.
    Lacking(Algorithm),
}

impl Policy {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads rules that can be; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        one_form(bytes).filter(|policy: &Self| policy.version == VERSION && policy.is_possible())
    }

    /// Reads rules as they are presented: signed by `roots`, and proven to stand in the log that is believed now.
    ///
    /// # Errors
    /// [`PolicyError`]: the first thing that is wrong.
    pub fn open(presented: &[u8], roots: &Roots, log: &LogTrust) -> Result<Self, PolicyError> {
        let Presented { grant: bytes, proof } = Presented::read(presented).ok_or(PolicyError::Malformed)?;
        let envelope = Envelope::read(Kind::Policy, bytes).map_err(|_| PolicyError::Malformed)?;
        let policy = Self::read(envelope.payload).ok_or(PolicyError::Malformed)?;
        if let Some(algorithm) = lacking(roots.keys.iter()) {
            return Err(PolicyError::Lacking(algorithm));
        }
        let is_first = |at: usize| !roots.keys[..at].contains(&roots.keys[at]);
        let signed = (0..roots.keys.len())
            .filter(|&at| is_first(at) && envelope.is_signed_by(&roots.keys[at]))
            .count();
        if signed < roots.needed.max(1) {
            return Err(PolicyError::Roots);
        }
        if policy.seal != roots.seal {
            return Err(PolicyError::OtherSeal);
        }
        if let Some(algorithm) = policy.lacking() {
            return Err(PolicyError::Lacking(algorithm));
        }
        let proven = Proof::parse(proof).and_then(|proof| proof.verify(bytes, log));
        proven.map(|_| policy).map_err(|_| PolicyError::Proof)
    }

    fn is_possible(&self) -> bool {
        let is_named = |named: &Named| is_text(&named.name);
        let signs_notes = |named: &Named| named.key.algorithm() == Algorithm::Ed25519;
        let is_matter = |at: usize| {
            let Matter { matter, approvers, needed, most_uses, .. } = &self.matters[at];
            is_text(matter)
                && self.matters[..at].iter().all(|other| other.matter != *matter)
                && approvers.iter().all(|&at| usize::from(at) < self.approvers.len())
                && *needed > 0
                && (1..=MAX_USES).contains(most_uses)
        };
        is_text(&self.seal)
            && self.number > 0
            && (1..=MAX_ISSUERS).contains(&self.issuers.len())
            && is_named(&self.log)
            && (1..=MAX_WITNESSES).contains(&self.witnesses.len())
            && self.witnesses_needed > 0
            && self.approvers.len() <= MAX_APPROVERS
            && self.witnesses.iter().chain(&self.approvers).all(is_named)
            && self.witnesses.iter().chain([&self.log]).all(signs_notes)
            && self.matters.len() <= MAX_RULES
            && (0..self.matters.len()).all(is_matter)
            && self.lease.most_s > 0
            && self.lease.answer_s > 0
    }

    /// An algorithm of keys in these rules that this build lacks.
    pub fn lacking(&self) -> Option<Algorithm> {
        lacking(self.issuers.iter().chain(self.approvers.iter().map(|named| &named.key)))
    }

    /// The log and the witnesses that these rules name.
    pub fn log_trust(&self) -> LogTrust {
        let key = |named: &Named| NoteKey { name: named.name.clone(), key: named.key };
        LogTrust {
            log: key(&self.log),
            witnesses: self.witnesses.iter().map(key).collect(),
            needed: usize::from(self.witnesses_needed),
        }
    }

    /// What a device believes by these rules, before it has heard of any delegation.
    pub fn trust(&self) -> Trust {
        let approver = |named: &Named| Approver { person: named.name.clone(), key: named.key };
        let rule = |matter: &Matter| Rule {
            matter: matter.matter.clone(),
            approvers: matter.approvers.clone(),
            needed: usize::from(matter.needed),
            evidence: matter.evidence,
            most_uses: matter.most_uses,
            may_be_delegated: matter.may_be_delegated,
        };
        Trust {
            seal: self.seal.clone(),
            is_test: self.is_test,
            issuers: self.issuers.clone(),
            log: self.log_trust(),
            policy: self.number,
            approvers: self.approvers.iter().map(approver).collect(),
            rules: self.matters.iter().map(rule).collect(),
            lease: self.lease,
            deputed: Vec::new(),
        }
    }
}

/// The first algorithm of these keys that this build lacks.
fn lacking<'k>(mut keys: impl Iterator<Item = &'k PublicKey>) -> Option<Algorithm> {
    keys.find(|key| !key.algorithm().is_built_in()).map(PublicKey::algorithm)
}

impl Roots {
    /// Names these roots in a few characters that two people can compare: eight bytes over all that is in them.
    pub fn fingerprint(&self) -> [u8; 8] {
        let mut parts: Vec<&[u8]> = alloc::vec![self.seal.as_bytes()];
        for key in &self.keys {
            // What has another length says so, so that nothing else runs together to the same.
            if key.algorithm() != Algorithm::Ed25519 {
                parts.push(key.algorithm().as_str().as_bytes());
            }
            parts.push(key.bytes());
        }
        let needed = (self.needed as u64).to_be_bytes();
        let log = [&self.log.log].into_iter().chain(&self.log.witnesses);
        parts.push(&needed);
        parts.extend(log.map(|key| key.key.bytes()));
        let all = digest(&parts);
        let mut short = [0; 8];
        short.copy_from_slice(&all[..8]);
        short
    }
}
