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
            | Deputy
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

    /// Whether a grant that somebody brings is worth being held: for this seal, in order, and not over.
    ///
    /// # Errors
    /// Why not.
    pub fn weigh(
        &self,
        bytes: Vec<u8>,
        trust: &Trust,
        memory: &Memory,
        moment: &Moment,
    ) -> Result<Held, Refused> {
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
        if self.0.len() >= MAX_OPEN && !self.holds(&held.grant.id) {
            return Err(no(Refusal::TooManyOpen, Some(Box::new(held.grant))));
        }
        Ok(held)
    }

    /// Whether the grant of this name is held already.
    pub fn holds(&self, id: &Id) -> bool {
        self.0.iter().any(|held| held.grant.id == *id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::authority::{self, Authority};
    use ::seal::grant::Presented;
    use ::seal::keys::Signer as _;
    use ::seal::policy::Policy;
    use ::seal::receipt::{Scene, TimeQuality};

    const NOON_S: u64 = 1_790_000_000;

    #[test]
    fn what_may_be_good_later_is_held_and_what_never_will_be_is_not() {
        let mut authority = Authority::new(authority::key(9).public(), NOON_S);
        let rules = authority.rules();
        let trust = Policy::open(&rules, &authority::roots(), &authority::roots().log).unwrap().trust();
        let scene = Scene { at_s: NOON_S, time: TimeQuality::Synced, position: None, person: None };
        let moment = Moment { scene, alone_s: Some(0), asked: None, counter: 0 };
        let plain = authority.plain(1);
        let mut issue = |grant: Grant| authority.issue(&grant);
        let good = issue(plain.clone());
        let (free, locked) = (Memory::default(), Memory { is_locked: true, ..Memory::default() });
        let revoked = Memory { revoked: vec![(plain.id, NOON_S + 99)], ..Memory::default() };
        let over = Memory { min_sequence: 2, is_locked: true, ..Memory::default() };
        let nobody = Presented::read(&good).unwrap();
        let unproven = Presented { proof: b"", ..nobody }.to_bytes();
        for (what, bytes, memory, expected) in [
            ("in order", good.clone(), &free, None),
            ("while it is locked", good.clone(), &locked, None),
            ("too early", issue(Grant { not_before_s: NOON_S + 9, ..plain.clone() }), &free, None),
            ("revoked", good.clone(), &revoked, Some(Refusal::Revoked)),
            ("over, and locked", good.clone(), &over, Some(Refusal::Replayed)),
            ("expired", issue(Grant { expires_s: NOON_S, ..plain.clone() }), &free, Some(Refusal::Expired)),
            (
                "of another seal",
                issue(Grant { seal: "x".into(), ..plain.clone() }),
                &free,
                Some(Refusal::OtherSeal),
            ),
            (
                "of no matter",
                issue(Grant { matter: "x".into(), ..plain.clone() }),
                &free,
                Some(Refusal::Matter),
            ),
            ("not logged", unproven, &free, Some(Refusal::Proof)),
            ("nothing", Vec::new(), &free, Some(Refusal::Malformed)),
        ] {
            let weighed = Grants::default().weigh(bytes, &trust, memory, &moment);
            assert_eq!(weighed.err().map(|refused| refused.why), expected, "{what}");
        }
    }

    #[test]
    fn each_is_held_once_so_many_of_them_and_found_by_how_its_name_begins() {
        let mut authority = Authority::new(authority::key(9).public(), NOON_S);
        let trust =
            Policy::open(&authority.rules(), &authority::roots(), &authority::roots().log).unwrap().trust();
        let scene = Scene { at_s: NOON_S, time: TimeQuality::Synced, position: None, person: None };
        let moment = Moment { scene, alone_s: Some(0), asked: None, counter: 0 };
        let (mut grants, memory) = (Grants::default(), Memory::default());
        for sequence in 1..=MAX_OPEN as u16 {
            let plain = authority.plain(sequence);
            let bytes = authority.issue(&plain);
            let held = grants.weigh(bytes.clone(), &trust, &memory, &moment).unwrap();
            assert_eq!(held.left(&memory), 2);
            grants.hold(held);
            assert!(
                grants.weigh(bytes, &trust, &memory, &moment).is_ok_and(|held| grants.holds(&held.grant.id))
            );
        }
        let plain = authority.plain(99);
        let one_more = authority.issue(&plain);
        let refused = grants.weigh(one_more, &trust, &memory, &moment).unwrap_err();
        assert_eq!(refused.why, Refusal::TooManyOpen);
        assert_eq!(grants.find("0a0a").map(|held| held.grant.sequence), Some(10));
        assert!(grants.find("0").is_none() && grants.find("ff").is_none() && grants.find("").is_none());

        let over = grants.over(&Memory { min_sequence: 60, ..memory }, NOON_S);
        assert_eq!(over.len(), 59);
        grants.drop(&over);
        assert_eq!(grants.all().len(), 5);
        assert_eq!(grants.over(&Memory::default(), NOON_S + 86_400).len(), 5, "expired");
    }
}
