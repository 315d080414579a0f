//! What a seal and its authority say to one another: a question with a fresh number, and the signed answer to it.
//!
//! A hello travels like a receipt, behind all receipts before it: who answers it has them all. The answer is good once and
//! for minutes; what comes later, comes again or answers another question is as if nothing was heard.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::delegation::{Delegation, MAX_HELD};
use crate::envelope::{Envelope, Kind};
use crate::form::{bytes_of, is_text, one_form};
use crate::grant::{Grant, Id, Presented};
use crate::keys::{Digest, PublicKey};
use crate::memory::{Contact, MAX_OPEN};
use crate::policy::Policy;
use crate::receipt::TimeQuality;
use crate::trust::Trust;

/// The version written here, of both.
pub const VERSION: u8 = 1;
/// Most revocations in one answer: an envelope holds no more. Who has more to say says it in the next one.
pub const MAX_REVOKED: usize = 100;

/// What a seal says when it wants to be heard.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// The seal.
    #[n(1)]
    pub seal: String,
    /// The question: random, and asked once.
    #[n(2)]
    pub nonce: Id,
    /// Which run of the device asks.
    #[n(3)]
    pub boot: Id,
    /// Its time, in seconds since 1970 UTC.
    #[n(4)]
    pub at_s: u64,
    /// How well it knows that.
    #[n(5)]
    pub time: TimeQuality,
    /// Number of its last receipt.
    #[n(6)]
    pub receipts: u64,
    /// Digest of that; zeros when there is none.
    #[n(7)]
    pub last_receipt: Digest,
    /// The newest revocations that it has heard.
    #[n(8)]
    pub epoch: u32,
    /// Version of the rules that it has; 0 when it has none.
    #[n(9)]
    pub policy: u32,
    /// What its counter shows.
    #[n(10)]
    pub counter: u64,
    /// What it remembers that the counter showed: less, and it remembers an old state.
    #[n(11)]
    pub remembered: u64,
    /// How many times it was tampered with.
    #[n(12)]
    pub tampered: u32,
    /// Whether the authority has it locked.
    #[n(13)]
    pub is_locked: bool,
    /// Grants and delegations that it holds already, at most [`MAX_OPEN`] and [`MAX_HELD`].
    #[n(14)]
    pub held: Vec<Id>,
    /// The question before this one to which it has heard the answer, in this run: nobody else can know of that.
    #[n(15)]
    pub answered: Option<Id>,
    /// Number of the last receipt of a use that somebody was made to do; 0 when there is none. It stands in no receipt:
    /// anybody reads these.
    #[n(16)]
    pub duress: u64,
}

/// What the authority says to that.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// The seal.
    #[n(1)]
    pub seal: String,
    /// The question that it answers.
    #[n(2)]
    pub nonce: Id,
    /// What the seal has to know, at most [`MAX_REVOKED`] revocations.
    #[n(3)]
    pub contact: Contact,
}

/// What the authority sends to a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// There is something to be heard: say hello.
    Ask,
    /// An [`Answer`], signed.
    Answer(&'a [u8]),
    /// A grant with its proof, see [`Presented`].
    Grant(&'a [u8]),
    /// Rules with their proof, see [`Policy`].
    Policy(&'a [u8]),
    /// A delegation with its proof, see [`Deputed`](crate::delegation::Deputed).
    Delegation(&'a [u8]),
}

impl<'a> Said<'a> {
    /// What bytes claim to be; `None` when it is nothing that a seal listens to. Nothing is believed yet.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Said::Ask);
        }
        if Envelope::kind_of(bytes) == Some(Kind::Answer) {
            return Some(Said::Answer(bytes));
        }
        match Envelope::kind_of(Presented::read(bytes)?.grant)? {
            Kind::Grant => Some(Said::Grant(bytes)),
            Kind::Policy => Some(Said::Policy(bytes)),
            Kind::Delegation => Some(Said::Delegation(bytes)),
            _ => None,
        }
    }

    /// The seal that it names, for whoever carries it. Nothing is believed yet.
    pub fn addressee(&self) -> Option<String> {
        match *self {
            Said::Ask => None,
            Said::Answer(bytes) => {
                Some(Answer::read(Envelope::read(Kind::Answer, bytes).ok()?.payload)?.seal)
            }
            Said::Grant(bytes) => {
                let envelope = Envelope::read(Kind::Grant, Presented::read(bytes)?.grant).ok()?;
                Some(Grant::read(envelope.payload).ok()?.seal)
            }
            Said::Policy(bytes) => {
                let envelope = Envelope::read(Kind::Policy, Presented::read(bytes)?.grant).ok()?;
                Some(Policy::read(envelope.payload)?.seal)
            }
            Said::Delegation(bytes) => {
                let envelope = Envelope::read(Kind::Delegation, Presented::read(bytes)?.grant).ok()?;
                Some(Delegation::read(envelope.payload)?.seal)
            }
        }
    }
}

/// Why an answer counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// Not an answer, or not in its one form.
    Malformed,
    /// Not signed by an issuer.
    Issuer,
    /// For another seal.
    OtherSeal,
    /// To a question that was not asked last.
    OtherQuestion,
    /// Too late.
    Late,
}

impl Hello {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads what the owner of `key` says; `None` when it is something else, or somebody else.
    pub fn open(envelope: &[u8], key: &PublicKey) -> Option<Self> {
        let envelope = Envelope::read(Kind::Hello, envelope).ok().filter(|all| all.is_signed_by(key))?;
        Self::read(envelope.payload)
    }

    /// Reads what is signed; `None` when it is of another version, something else, or not in the one form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let is_possible = |hello: &Self| {
            let numbers = [hello.at_s, hello.receipts, hello.counter, hello.remembered, hello.duress];
            hello.version == VERSION
                && is_text(&hello.seal)
                && hello.held.len() <= MAX_OPEN + MAX_HELD
                && numbers.iter().all(|&number| number <= i64::MAX as u64)
        };
        one_form(bytes).filter(is_possible)
    }
}

impl Answer {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads what is signed; `None` when it is of another version, something else, or not in the one form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let is_possible = |answer: &Self| {
            let contact = &answer.contact;
            answer.version == VERSION
                && is_text(&answer.seal)
                && contact.revoked.len() <= MAX_REVOKED
                && contact.since <= contact.epoch
        };
        one_form(bytes).filter(is_possible)
    }

    /// Reads the answer to what was `asked` so many seconds ago.
    ///
    /// # Errors
    /// [`Unheard`]: the first thing that is wrong.
    pub fn open(envelope: &[u8], trust: &Trust, asked: Option<&(Id, u64)>) -> Result<Self, Unheard> {
        let envelope = Envelope::read(Kind::Answer, envelope).map_err(|_| Unheard::Malformed)?;
        let answer = Self::read(envelope.payload).ok_or(Unheard::Malformed)?;
        if !trust.issuers.iter().any(|issuer| envelope.is_signed_by(issuer)) {
            return Err(Unheard::Issuer);
        }
        if answer.seal != trust.seal {
            return Err(Unheard::OtherSeal);
        }
        match asked {
            Some((nonce, ago_s)) if *nonce == answer.nonce => {
                if *ago_s <= trust.lease.answer_s {
                    Ok(answer)
                } else {
                    Err(Unheard::Late)
                }
            }
            _ => Err(Unheard::OtherQuestion),
        }
    }
}
