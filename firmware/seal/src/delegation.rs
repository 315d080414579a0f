//! Somebody who approves is away, and lets a deputy approve in their place, for some matters and for a time.
//!
//! The delegator signs it with a key of their own that the rules name, and it is logged under the eyes of witnesses as a
//! grant is: who runs the server can hide one, and make none. The deputy is somebody whom the rules name too, so that no new
//! key is believed; and only matters of which the rules say so can be delegated. What is delegated cannot be passed on. It
//! is taken back by its id, as a grant is.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::envelope::{Envelope, Kind};
use crate::form::{bytes_of, is_text, one_form};
use crate::grant::{Id, Presented};
use crate::keys::PublicKey;
use crate::memory::Memory;
use crate::proof::Proof;
use crate::trust::{Rule, Trust};

/// The version written here.
pub const VERSION: u8 = 1;
/// Longest time of one, in seconds: a month. Who is away for longer says it again.
pub const MAX_VALID_S: u64 = 31 * 86_400;
/// Most matters of one: with names of 64 bytes it still fits an envelope twice.
pub const MAX_MATTERS: usize = 16;
/// Most that a seal holds: a village has some approvers, and few are away at a time.
pub const MAX_HELD: usize = 8;

/// Leave to approve in somebody's place. The delegator signs it, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delegation {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// Its name, which no grant has.
    #[n(1)]
    pub id: Id,
    /// The seal.
    #[n(2)]
    pub seal: String,
    /// Who is away, as the rules name them.
    #[n(3)]
    pub from: String,
    /// Who approves in their place, as the rules name them.
    #[n(4)]
    pub to: String,
    /// Which matters, 1 to [`MAX_MATTERS`], ascending.
    #[n(5)]
    pub matters: Vec<String>,
    /// From when on, in seconds since 1970 UTC.
    #[n(6)]
    pub from_s: u64,
    /// Until when, the last second excluded; at most [`MAX_VALID_S`] later.
    #[n(7)]
    pub until_s: u64,
}

impl Delegation {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads a delegation that can be; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        one_form(bytes).filter(Self::is_possible)
    }

    fn is_possible(&self) -> bool {
        let valid_s = self.until_s.checked_sub(self.from_s);
        self.version == VERSION
            && [&self.seal, &self.from, &self.to].into_iter().chain(&self.matters).all(|text| is_text(text))
            && self.from != self.to
            && (1..=MAX_MATTERS).contains(&self.matters.len())
            && self.matters.is_sorted_by(|one, next| one < next)
            && valid_s.is_some_and(|valid_s| (1..=MAX_VALID_S).contains(&valid_s))
            // So that it can be kept wherever numbers have a sign.
            && self.until_s <= i64::MAX as u64
    }

    /// Whether it holds at this time, in seconds since 1970 UTC.
    pub fn holds_at(&self, at_s: u64) -> bool {
        (self.from_s..self.until_s).contains(&at_s)
    }
}

/// Why a delegation is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegationError {
    /// Not a delegation, not in its one form, or one that cannot be.
    Malformed,
    /// For another seal.
    OtherSeal,
    /// The delegator has not signed it, alone and with a key that the rules name.
    Delegator,
    /// The rules do not name the deputy.
    Deputy,
    /// Not in the log under the eyes of enough witnesses.
    Proof,
}

/// A delegation whose signature and place in the log were looked at. Whether it counts is asked again of each rule, so that
/// it ends with the rules by which it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deputed {
    delegation: Delegation,
    /// Which key has signed it.
    key: PublicKey,
    /// The log, and which leaf.
    log: PublicKey,
    index: u64,
}

impl Deputed {
    /// Reads a delegation as it is presented.
    ///
    /// # Errors
    /// [`DelegationError`]: the first thing that is wrong.
    pub fn open(presented: &[u8], trust: &Trust) -> Result<Self, DelegationError> {
        let Presented { grant: bytes, proof } =
            Presented::read(presented).ok_or(DelegationError::Malformed)?;
        let proof = Proof::parse(proof).map_err(|_| DelegationError::Proof)?;
        let deputed = Self::of_leaf(bytes, proof.index, trust)?;
        proof.verify(bytes, &trust.log).map(|_| deputed).map_err(|_| DelegationError::Proof)
    }

    /// Reads a leaf that is known to have this number in the log.
    ///
    /// # Errors
    /// [`DelegationError`]: the first thing that is wrong.
    pub fn of_leaf(leaf: &[u8], index: u64, trust: &Trust) -> Result<Self, DelegationError> {
        let envelope = Envelope::read(Kind::Delegation, leaf).map_err(|_| DelegationError::Malformed)?;
        let delegation = Delegation::read(envelope.payload).ok_or(DelegationError::Malformed)?;
        if delegation.seal != trust.seal {
            return Err(DelegationError::OtherSeal);
        }
        let mut own = trust.approvers.iter().filter(|approver| approver.person == delegation.from);
        let signed = own.find(|own| !trust.issuers.contains(&own.key) && envelope.is_signed_by(&own.key));
        let key = signed.filter(|_| envelope.signatures.len() == 1).ok_or(DelegationError::Delegator)?.key;
        if trust.approvers.iter().all(|approver| approver.person != delegation.to) {
            return Err(DelegationError::Deputy);
        }
        Ok(Self { delegation, key, log: trust.log.log.key, index })
    }

    /// What it says.
    pub fn delegation(&self) -> &Delegation {
        &self.delegation
    }

    /// Number of its leaf: a grant before it was not approved because of it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether the delegator could give it for this matter: the rule names the key that has signed it, and lets it be.
    pub fn counts(&self, trust: &Trust, rule: &Rule) -> bool {
        let Delegation { seal, from, matters, .. } = &self.delegation;
        rule.may_be_delegated
            && matters.contains(&rule.matter)
            && *seal == trust.seal
            && self.log == trust.log.log.key
            && !trust.issuers.contains(&self.key)
            && rule.approvers(trust).any(|approver| approver.person == *from && approver.key == self.key)
    }

    /// Whether it will never count any more, as far as is known here: it has ended, was taken back, or the rules want
    /// nothing of it. It is no earlier than `now_s`.
    pub fn is_over(&self, trust: &Trust, memory: &Memory, now_s: u64) -> bool {
        self.delegation.until_s <= now_s
            || memory.is_revoked(&self.delegation.id)
            || !trust.rules.iter().any(|rule| self.counts(trust, rule))
    }
}
