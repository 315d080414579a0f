//! What a seal remembers: the sum of its journal.
//!
//! Each [`Entry`] is on stable storage before anything moves or is answered because of it. After a power cut the entries are
//! added up again, in their order, and nothing else counts. A use that is in the sum is never taken out of it.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::grant::Id;
use crate::keys::Digest;
use crate::receipt::{Outcome, Scene, UseOf};
use crate::refusal::Refusal;

/// Most grants with uses left that lie open at once: a village has some a day, each for a week at most.
pub const MAX_OPEN: usize = 64;
/// Most revoked grants and delegations remembered, each until it has expired. Where there are more, nothing moves.
pub const MAX_REVOKED: usize = 1024;
/// Grants may be used in another order than they were issued, within so many.
pub const WINDOW: u64 = 64;

/// What is journaled.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Entry {
    /// A use is spent, whatever comes now. The counter that never goes back is moved after this, and before anything else.
    #[n(0)]
    Consumed {
        /// Which use.
        #[n(0)]
        used: UseOf,
        /// When the grant expires.
        #[n(1)]
        expires_s: u64,
        /// When and where.
        #[n(2)]
        scene: Scene,
        /// The photograph before, if one was taken.
        #[n(3)]
        before: Option<Digest>,
        /// What the counter will show.
        #[n(4)]
        counter: u64,
    },
    /// That use has ended so.
    #[n(1)]
    Done {
        /// How.
        #[n(0)]
        outcome: Outcome,
        /// How often it was pressed.
        #[n(1)]
        presses: u8,
        /// The photograph after, if one was taken.
        #[n(2)]
        after: Option<Digest>,
    },
    /// A receipt was signed. It lies in the lane of receipts by the same write.
    #[n(2)]
    Receipt {
        /// Its number.
        #[n(0)]
        number: u64,
        /// The digest of its envelope.
        #[n(1)]
        digest: Digest,
        /// Whether it is the one that was owed; else it is of something refused.
        #[n(2)]
        settles: bool,
    },
    /// The authority was heard: a signed answer to a fresh question.
    #[n(3)]
    Contact(#[n(0)] Contact),
    /// Somebody has tampered with it. Only the authority can unlock it.
    #[n(4)]
    Tampered {
        /// When and where.
        #[n(0)]
        scene: Scene,
    },
}

/// What the authority says when it is heard.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Contact {
    /// The epoch after which the revocations begin: the device must have heard of all before.
    #[n(0)]
    pub since: u32,
    /// The newest epoch.
    #[n(1)]
    pub epoch: u32,
    /// Grants and delegations revoked in between, and when each expires.
    #[n(2)]
    pub revoked: Vec<(Id, u64)>,
    /// Whether the authority wants it locked.
    #[n(3)]
    pub lock: bool,
    /// How many times of tampering the authority knows of and has looked into.
    #[n(4)]
    pub cleared: u32,
    /// Grants below this one are over.
    #[n(5)]
    pub min_sequence: u64,
    /// What the device's counter showed when it asked.
    #[n(6)]
    pub counter: u64,
    /// The authority's time, in seconds since 1970 UTC.
    #[n(7)]
    pub at_s: u64,
    /// Number of the last receipt that the authority has: one that remembers less, or another of this
    /// number, goes on from there.
    #[n(8)]
    pub receipts: u64,
    /// Digest of that; zeros when there is none.
    #[n(9)]
    pub last_receipt: Digest,
    /// How many times of tampering the authority has heard of: one that has forgotten them goes on from there.
    #[n(10)]
    pub tampered: u32,
    /// Version of the newest rules: with older ones nothing moves.
    #[n(11)]
    pub policy: u32,
}

/// A grant with uses left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// The newest use.
    #[n(0)]
    pub used: UseOf,
    /// When the grant expires.
    #[n(1)]
    pub expires_s: u64,
}

/// A use that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Pending {
    /// Which.
    #[n(0)]
    pub used: UseOf,
    /// When and where it began.
    #[n(1)]
    pub scene: Scene,
    /// The photograph before.
    #[n(2)]
    pub before: Option<Digest>,
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ended {
    /// Which use; `None` of tampering without one.
    #[n(0)]
    pub used: Option<UseOf>,
    /// When and where it began.
    #[n(1)]
    pub scene: Scene,
    /// How.
    #[n(2)]
    pub outcome: Outcome,
    /// How often it was pressed.
    #[n(3)]
    pub presses: u8,
    /// The photograph before.
    #[n(4)]
    pub before: Option<Digest>,
    /// The photograph after.
    #[n(5)]
    pub after: Option<Digest>,
}

/// What a seal remembers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Memory {
    /// The highest sequence of a grant that was used.
    #[n(0)]
    pub sequence: u64,
    /// Which of the [`WINDOW`] up to it were used: the lowest bit is the highest one.
    #[n(1)]
    pub seen: u64,
    /// Grants below this one are over.
    #[n(2)]
    pub min_sequence: u64,
    /// Grants that were used and have uses left.
    #[n(3)]
    pub open: Vec<Open>,
    /// The newest epoch of revocations that was heard.
    #[n(4)]
    pub epoch: u32,
    /// Grants and delegations revoked, until they expire.
    #[n(5)]
    pub revoked: Vec<(Id, u64)>,
    /// Whether there were more than can be remembered, and they were not told again since.
    #[n(6)]
    pub is_list_full: bool,
    /// Uses since the last contact.
    #[n(7)]
    pub stamps_alone: u32,
    /// Whether the authority wants it locked.
    #[n(8)]
    pub is_locked: bool,
    /// How many times it was tampered with.
    #[n(9)]
    pub tampered: u32,
    /// Of how many of these the authority knows.
    #[n(10)]
    pub cleared: u32,
    /// What the counter that never goes back has to show.
    #[n(11)]
    pub counter: u64,
    /// It is no earlier than this, in seconds since 1970 UTC.
    #[n(12)]
    pub floor_s: u64,
    /// The use that has begun and not ended.
    #[n(13)]
    pub pending: Option<Pending>,
    /// What has ended and has no receipt yet: the next use waits for it.
    #[n(14)]
    pub owed: Option<Ended>,
    /// Number of the last receipt.
    #[n(15)]
    pub receipts: u64,
    /// Digest of its envelope; zeros when there is none.
    #[n(16)]
    pub last_receipt: Digest,
    /// The newest rules that it has heard of.
    #[n(17)]
    pub policy: u32,
    /// Number of the last receipt of a use that somebody was made to do; 0 when there is none.
    #[n(18)]
    pub duress: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            sequence: 0,
            seen: 0,
            min_sequence: 0,
            open: Vec::new(),
            epoch: 0,
            revoked: Vec::new(),
            is_list_full: false,
            stamps_alone: 0,
            is_locked: false,
            tampered: 0,
            cleared: 0,
            counter: 0,
            floor_s: 0,
            pending: None,
            owed: None,
            receipts: 0,
            last_receipt: [0; 32].into(),
            policy: 0,
            duress: 0,
        }
    }
}

impl Memory {
    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Consumed { used, expires_s, scene, before, counter } => {
                self.see(used.sequence);
                self.stamps_alone = self.stamps_alone.saturating_add(1);
                self.counter = self.counter.max(*counter);
                self.floor_s = self.floor_s.max(scene.at_s);
                self.pending = Some(Pending { used: *used, scene: scene.clone(), before: *before });
                let number = self.last_use(&used.grant).map_or(0, |open| open.used.number).max(used.number);
                self.open.retain(|open| open.used.grant != used.grant);
                if number < used.of {
                    self.open.push(Open { used: UseOf { number, ..*used }, expires_s: *expires_s });
                }
            }
            Entry::Done { outcome, presses, after } => {
                if let Some(Pending { used, scene, before }) = self.pending.take() {
                    let (outcome, presses, after) = (*outcome, *presses, *after);
                    self.owed = Some(Ended { used: Some(used), scene, outcome, presses, before, after });
                }
                // Tampering has an entry of its own.
                if *outcome == Outcome::NotClosed {
                    self.lock();
                }
            }
            Entry::Receipt { number, digest, settles } => {
                let owed = if *settles { self.owed.take() } else { None };
                let person = owed.and_then(|ended| ended.scene.person);
                if person.is_some_and(|person| person.is_duress) {
                    self.duress = *number;
                }
                self.receipts = *number;
                self.last_receipt = *digest;
            }
            Entry::Contact(contact) => self.hear(contact),
            Entry::Tampered { scene } => {
                self.lock();
                if self.owed.is_none() && self.pending.is_none() {
                    let (scene, outcome) = (scene.clone(), Outcome::Tampered);
                    self.owed =
                        Some(Ended { used: None, scene, outcome, presses: 0, before: None, after: None });
                }
            }
        }
    }

    /// Locks it until the authority has looked into it, and forgets what is left of grants: they were seen, and are over.
    fn lock(&mut self) {
        self.tampered = self.tampered.saturating_add(1);
        self.open.clear();
    }

    /// What does not begin where the device is has not reached it: as if nothing was heard.
    fn hear(&mut self, contact: &Contact) {
        if contact.since > self.epoch {
            return;
        }
        // Its own time is past, and what has expired by then is refused for that alone.
        self.floor_s = self.floor_s.max(contact.at_s);
        self.revoked.retain(|&(_, expires_s)| expires_s > contact.at_s);
        let mut is_too_much = false;
        for revoked in &contact.revoked {
            if self.is_revoked(&revoked.0) || revoked.1 <= contact.at_s {
                continue;
            }
            is_too_much |= self.revoked.len() == MAX_REVOKED;
            if !is_too_much {
                self.revoked.push(*revoked);
            }
        }
        // What did not fit is told again, from the same epoch on, and has room when others have expired.
        if is_too_much {
            self.is_list_full = true;
        } else if contact.epoch > self.epoch {
            (self.is_list_full, self.epoch) = (false, contact.epoch);
        }
        self.open.retain(|open| open.expires_s > contact.at_s && open.used.sequence >= contact.min_sequence);
        self.min_sequence = self.min_sequence.max(contact.min_sequence);
        self.tampered = self.tampered.max(contact.tampered);
        self.cleared = self.cleared.max(contact.cleared).min(self.tampered);
        self.policy = self.policy.max(contact.policy);
        self.counter = self.counter.max(contact.counter);
        if contact.receipts >= self.receipts {
            (self.receipts, self.last_receipt) = (contact.receipts, contact.last_receipt);
        }
        self.is_locked = contact.lock;
        self.stamps_alone = 0;
    }

    fn see(&mut self, sequence: u64) {
        if sequence > self.sequence {
            let by = u32::try_from(sequence - self.sequence).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.sequence = sequence;
        } else if self.sequence - sequence < WINDOW {
            self.seen |= 1 << (self.sequence - sequence);
        }
    }

    /// Whether a grant with this sequence was used before, or may have been.
    fn has_seen(&self, sequence: u64) -> bool {
        let back = self.sequence.checked_sub(sequence);
        sequence < self.min_sequence || back.is_some_and(|back| back >= WINDOW || self.seen >> back & 1 == 1)
    }

    /// The newest use of a grant with uses left.
    pub fn last_use(&self, grant: &Id) -> Option<&Open> {
        self.open.iter().find(|open| open.used.grant == *grant)
    }

    /// Whether a grant or a delegation was revoked.
    pub fn is_revoked(&self, grant: &Id) -> bool {
        self.revoked.iter().any(|(revoked, _)| revoked == grant)
    }

    /// Whether the authority leaves a grant be, as far as is known here, and this seal.
    ///
    /// # Errors
    /// Why not.
    pub fn is_free(&self, grant: &Id) -> Result<(), Refusal> {
        for (is_wrong, why) in [
            (self.is_locked, Refusal::Locked),
            (self.tampered > self.cleared, Refusal::Tampered),
            (self.is_list_full, Refusal::ListFull),
            (self.is_revoked(grant), Refusal::Revoked),
        ] {
            if is_wrong {
                return Err(why);
            }
        }
        Ok(())
    }

    /// Which use comes next: of the grant that `used` names, whatever number stands there. `counter` is what the counter
    /// that never goes back shows.
    ///
    /// # Errors
    /// Why none may.
    pub fn next_use(&self, used: UseOf, now_s: u64, counter: u64) -> Result<UseOf, Refusal> {
        // More than is remembered: an old card. Less: a counter of another device.
        if counter != self.counter {
            return Err(Refusal::RolledBack);
        }
        let number = match self.last_use(&used.grant) {
            Some(open) if open.used.digest != used.digest => return Err(Refusal::Changed),
            Some(open) => open.used.number.saturating_add(1),
            None if self.has_seen(used.sequence) => return Err(Refusal::Replayed),
            None if self.open.iter().filter(|open| open.expires_s > now_s).count() >= MAX_OPEN => {
                return Err(Refusal::TooManyOpen);
            }
            None => 1,
        };
        if number > used.of {
            return Err(Refusal::UsedUp);
        }
        if self.pending.is_some() || self.owed.is_some() {
            return Err(Refusal::Busy);
        }
        Ok(UseOf { number, ..used })
    }
}
