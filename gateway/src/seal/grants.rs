//! The grants that a seal holds, whoever brought them. Each is judged again whenever it is to be used. Pure.

use ::seal::decision::{Moment, Refused, decide};
use ::seal::envelope::{Envelope, Kind};
use ::seal::grant::{Grant, Id, Presented};
use ::seal::keys::{Digest, digest};
use ::seal::memory::{MAX_OPEN, Memory};
use ::seal::receipt::UseOf;
use ::seal::refusal::Refusal;
use ::seal::trust::Trust;

use super::hex;

/// A grant and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it says. Nothing of it is believed here.
    pub grant: Grant,
    /// The digest of what was signed.
    pub digest: Digest,
    /// As it was presented.
    pub bytes: Vec<u8>,
}

impl Held {
    /// Reads what was presented; `None` when it is no grant.
    pub fn read(bytes: Vec<u8>) -> Option<Self> {
        let envelope = Envelope::read(Kind::Grant, Presented::read(&bytes)?.grant).ok()?;
        let grant = Grant::read(envelope.payload).ok()?;
        let digest = digest(&[envelope.payload]);
        Some(Self { grant, digest, bytes })
    }

    fn used(&self) -> UseOf {
        let Grant { id: grant, sequence, max_uses: of, .. } = self.grant;
        UseOf { grant, digest: self.digest, sequence, number: 0, of }
    }

    /// Uses that are left, as far as is known here.
    pub fn left(&self, memory: &Memory) -> u16 {
        let used = memory.last_use(&self.grant.id).map_or(0, |open| open.used.number);
        self.grant.max_uses.saturating_sub(used)
    }

    /// Whether it will never be good for anything any more.
    pub fn is_over(&self, memory: &Memory, now_s: u64) -> bool {
        let next = memory.next_use(self.used(), now_s, memory.counter);
        let is_used = matches!(next, Err(Refusal::UsedUp | Refusal::Replayed | Refusal::Changed));
        is_used || self.grant.expires_s <= now_s || memory.is_revoked(&self.grant.id)
    }
}

/// Whether another moment may bring another answer, or another state of this seal.
fn is_for_now(why: Refusal) -> bool {
    use Refusal::*;
    matches!(
        why,
        Locked
            | Tampered
            | ListFull
            | Epoch
            | LeaseHours
            | LeaseStamps
            | TooEarly
            | TimeUnknown
            | PlaceUnknown
            | Elsewhere
            | TooManyOpen
            | RolledBack
            | Busy
            | Person
    )
}

/// What is held, the oldest first.
#[derive(Debug, Default)]
pub struct Grants(Vec<Held>);

impl Grants {
    /// What was held at the last stop.
    pub fn of(held: Vec<Held>) -> Self {
        Self(held)
    }

    /// All of them.
    pub fn all(&self) -> &[Held] {
        &self.0
    }

    /// Whether a grant that somebody brings is worth being held: for this seal, in order, and not over. The answer to
    /// that is `None` when it is held already.
    ///
    /// # Errors
    /// Why not.
    pub fn weigh(
        &self,
        bytes: Vec<u8>,
        trust: &Trust,
        memory: &Memory,
        moment: &Moment,
    ) -> Result<Option<Held>, Refused> {
        match decide(trust, memory, &bytes, moment) {
            Err(refused) if !is_for_now(refused.why) => return Err(refused),
            _ => {}
        }
        let no = |why, grant| Refused { why, grant };
        let held = Held::read(bytes).ok_or(no(Refusal::Malformed, None))?;
        // Of what was refused for now, not all was looked at.
        if held.is_over(memory, moment.scene.at_s) {
            return Err(no(Refusal::Replayed, Some(Box::new(held.grant))));
        }
        if self.0.iter().any(|other| other.grant.id == held.grant.id) {
            return Ok(None);
        }
        if self.0.len() >= MAX_OPEN {
            return Err(no(Refusal::TooManyOpen, Some(Box::new(held.grant))));
        }
        Ok(Some(held))
    }

    /// Holds a grant that was weighed.
    pub fn hold(&mut self, held: Held) {
        self.0.push(held);
    }

    /// Those that are over.
    pub fn over(&self, memory: &Memory, now_s: u64) -> Vec<Id> {
        self.0.iter().filter(|held| held.is_over(memory, now_s)).map(|held| held.grant.id).collect()
    }

    /// Lets these go.
    pub fn drop(&mut self, ids: &[Id]) {
        self.0.retain(|held| !ids.contains(&held.grant.id));
    }

    /// The one whose name begins so, in hexadecimal digits; `None` when there is none, or more than one.
    pub fn find(&self, name: &str) -> Option<&Held> {
        let mut found = self.0.iter().filter(|held| hex(&held.grant.id[..]).starts_with(name));
        found.next().filter(|_| found.next().is_none())
    }
}
