//! Whom a seal believes: what its [`policy`](crate::policy) says, ready to be asked.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::delegation::Deputed;
use crate::grant::Evidence;
use crate::keys::PublicKey;
use crate::proof::LogTrust;

/// How long, and for how many stamps, a seal works without contact: what a revocation may miss at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Lease {
    /// Seconds since the last contact.
    #[n(0)]
    pub most_s: u64,
    /// Uses since then.
    #[n(1)]
    pub most_stamps: u32,
    /// Seconds for which a question of the device may be answered: after that it asks another.
    #[n(2)]
    pub answer_s: u64,
}

/// Somebody who approves. A person with two keys is one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// Who.
    pub person: String,
    /// One of their keys.
    pub key: PublicKey,
}

/// Who has to approve a matter, and what has to be there whoever approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The matter, as the list of powers names it.
    pub matter: String,
    /// Who may approve it: positions in [`Trust::approvers`].
    pub approvers: Vec<u8>,
    /// How many people have to: at least one, whatever is said here.
    pub needed: usize,
    /// Evidence that a grant has to ask for.
    pub evidence: Evidence,
    /// Most uses of one grant.
    pub most_uses: u16,
    /// Whether they may let a deputy approve it.
    pub may_be_delegated: bool,
}

impl Rule {
    /// Whether the approver at this position may approve it.
    pub(crate) fn names(&self, approver: usize) -> bool {
        self.approvers.iter().any(|&at| usize::from(at) == approver)
    }

    /// Who may approve it.
    pub fn approvers<'t>(&'t self, trust: &'t Trust) -> impl Iterator<Item = &'t Approver> {
        self.approvers.iter().filter_map(|&at| trust.approvers.get(usize::from(at)))
    }
}

/// Whom and what a seal believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The seal itself.
    pub seal: String,
    /// Whether it is one for rehearsals: these take test grants only, and the others none.
    pub is_test: bool,
    /// Who issues grants: one of these keys. There are two while one takes the place of the other.
    pub issuers: Vec<PublicKey>,
    /// Where they are logged, and who watches.
    pub log: LogTrust,
    /// Version of the rules.
    pub policy: u32,
    /// Everybody who approves something, each with one key.
    pub approvers: Vec<Approver>,
    /// The rules: what is on no list cannot be stamped.
    pub rules: Vec<Rule>,
    /// What it may do without contact.
    pub lease: Lease,
    /// Who approves in whose place, as far as it was heard: a device holds [`MAX_HELD`](crate::delegation::MAX_HELD).
    pub deputed: Vec<Deputed>,
}
