//! A lock with a seal in it, as far as it is the same for every lock: it takes rules, answers and grants, stamps, and
//! signs receipts. Pins, storage and line are [`Hands`].
#![no_std]

extern crate alloc;

pub mod heap;

use alloc::string::String;
use alloc::vec::Vec;

use seal::decision::{Leave, Moment, Refused, decide};
use seal::delegation::{Deputed, MAX_HELD};
use seal::envelope::{Envelope, Kind};
use seal::grant::Id;
use seal::keys::{Algorithm, MemoryKey, PublicKey, digest};
use seal::memory::{Entry, Memory};
use seal::note::NoteKey;
use seal::policy::{Named, Policy, Roots};
use seal::proof::LogTrust;
use seal::receipt::{self, Outcome, Receipt, Scene, UseOf};
use seal::refusal::Refusal;
use seal::stamping::{Action, Event, Stamping};
use seal::talk::{Answer, Said};
use seal::trust::Trust;

/// By which it signs: SM2 where that is built in.
pub const ALGORITHM: Algorithm =
    if Algorithm::Sm2.is_built_in() { Algorithm::Sm2 } else { Algorithm::Ed25519 };

/// Reads what a lock is commissioned with; `None` when it is something else.
pub fn commissioned(bytes: &[u8]) -> Option<Roots> {
    type Commissioned = (String, Vec<PublicKey>, u8, Named, Vec<Named>, u8);
    let (seal, keys, needed, log, witnesses, witnesses_needed): Commissioned =
        minicbor::decode(bytes).ok()?;
    let key = |named: Named| NoteKey { name: named.name, key: named.key };
    let log = LogTrust {
        log: key(log),
        witnesses: witnesses.into_iter().map(key).collect(),
        needed: witnesses_needed.into(),
    };
    Some(Roots { seal, keys, needed: needed.into(), log })
}

/// Reads a moment at the seal an hour after the last contact; `None` when it is something else.
pub fn moment(bytes: &[u8]) -> Option<Moment> {
    let (scene, asked): (Scene, Option<(Id, u64)>) = minicbor::decode(bytes).ok()?;
    Some(Moment { scene, alone_s: Some(3600), asked, counter: 0 })
}

/// The hardware.
pub trait Hands {
    /// Writes bytes of the journal and flushes them; `false` when it cannot.
    fn journal(&mut self, entry: &[u8]) -> bool;
    /// Does what is neither journaled nor said, and tells what has happened.
    fn act(&mut self, action: &Action) -> Event;
    /// Says something to the authority.
    fn say(&mut self, envelope: &[u8]);
}

/// The lock.
pub struct Lock<H> {
    roots: Roots,
    trust: Option<Trust>,
    memory: Memory,
    stamping: Stamping,
    key: MemoryKey,
    /// The hardware.
    pub hands: H,
}

impl<H: Hands> Lock<H> {
    /// A lock that was commissioned with these roots and has heard nothing yet.
    pub fn new(roots: Roots, key: MemoryKey, hands: H) -> Self {
        Self { roots, trust: None, memory: Memory::default(), stamping: Stamping::default(), key, hands }
    }

    /// Hears what the authority sends, and acts on it. Whether it was believed.
    pub fn hear(&mut self, said: &[u8], moment: &Moment) -> bool {
        match (Said::of(said), &self.trust) {
            (Some(Said::Policy(presented)), _) => {
                let log = self.trust.as_ref().map_or(&self.roots.log, |trust| &trust.log);
                let Ok(policy) = Policy::open(presented, &self.roots, log) else { return false };
                let is_newer = self.trust.as_ref().is_none_or(|trust| trust.policy < policy.number);
                if is_newer {
                    let mut trust = policy.trust();
                    trust.deputed = self.trust.take().map_or_else(Vec::new, |before| before.deputed);
                    self.trust = Some(trust);
                }
                is_newer
            }
            (Some(Said::Answer(envelope)), Some(trust)) => {
                let Ok(answer) = Answer::open(envelope, trust, moment.asked.as_ref()) else { return false };
                self.journal(&Entry::Contact(answer.contact))
            }
            (Some(Said::Delegation(presented)), Some(_)) => self.depute(presented, moment.scene.at_s),
            (Some(Said::Grant(presented)), Some(trust)) => {
                match decide(trust, &self.memory, presented, moment) {
                    Ok(leave) => self.stamp(leave, moment),
                    Err(Refused { why, grant }) => {
                        let used = grant.map(|grant| UseOf {
                            grant: grant.id,
                            digest: digest(&[&grant.to_bytes()]),
                            sequence: grant.sequence,
                            number: 0,
                            of: grant.max_uses,
                        });
                        self.refuse(used, why, moment.scene.clone());
                        false
                    }
                }
            }
            _ => false,
        }
    }

    /// Holds a delegation. Whether it was believed, new, and found room.
    fn depute(&mut self, presented: &[u8], now_s: u64) -> bool {
        let (Some(trust), memory) = (&mut self.trust, &self.memory) else { return false };
        let mut deputed = core::mem::take(&mut trust.deputed);
        deputed.retain(|held| !held.is_over(trust, memory, now_s));
        trust.deputed = deputed;
        let Ok(one) = Deputed::open(presented, trust) else { return false };
        let is_held = trust.deputed.iter().any(|held| held.delegation().id == one.delegation().id);
        let is_taken = !is_held && trust.deputed.len() < MAX_HELD && !one.is_over(trust, memory, now_s);
        if is_taken {
            trust.deputed.push(one);
        }
        is_taken
    }

    /// Whether a grant gives leave. Nothing comes of it.
    pub fn would(&self, presented: &[u8], moment: &Moment) -> bool {
        self.trust.as_ref().is_some_and(|trust| decide(trust, &self.memory, presented, moment).is_ok())
    }

    /// One use, from leave to receipt. Whether it came to the end.
    fn stamp(&mut self, leave: Leave, moment: &Moment) -> bool {
        let now_s = moment.scene.at_s;
        let mut actions = self.stamping.begin(leave, &self.memory, now_s);
        while let Some(action) = actions.pop() {
            let event = match action {
                Action::Journal(entry) if self.journal(&entry) => Event::Journaled,
                Action::Journal(_) => Event::JournalFailed,
                Action::Lock(scene) => {
                    self.journal(&Entry::Tampered { scene });
                    continue;
                }
                Action::Settle => return self.settle(),
                Action::Refuse(used, why) => {
                    self.refuse(Some(used), why, moment.scene.clone());
                    return false;
                }
                Action::Halt => return false,
                Action::Photograph | Action::Count(_) | Action::Open | Action::Close => {
                    self.hands.act(&action)
                }
            };
            // One after the other: what is to be done next lies last.
            let mut next = self.stamping.on(event, &self.memory, now_s);
            next.reverse();
            actions.extend(next);
        }
        false
    }

    fn journal(&mut self, entry: &Entry) -> bool {
        let is_written = minicbor::to_vec(entry).is_ok_and(|bytes| self.hands.journal(&bytes));
        if is_written {
            self.memory.add(entry);
        }
        is_written
    }

    fn settle(&mut self) -> bool {
        let Some(ended) = self.memory.owed.clone() else { return false };
        let receipt = Receipt {
            used: ended.used,
            outcome: ended.outcome,
            presses: ended.presses,
            before: ended.before,
            after: ended.after,
            ..self.blank(ended.scene)
        };
        self.sign(&receipt, true)
    }

    fn refuse(&mut self, used: Option<UseOf>, why: Refusal, scene: Scene) {
        let receipt = Receipt { used, refusal: Some(why), ..self.blank(scene) };
        self.sign(&receipt, false);
    }

    fn blank(&self, scene: Scene) -> Receipt {
        Receipt {
            version: receipt::VERSION,
            seal: self.roots.seal.clone(),
            number: self.memory.receipts + 1,
            previous: self.memory.last_receipt,
            counter: self.memory.counter,
            boot: [0; 16].into(),
            scene,
            policy: self.trust.as_ref().map_or(0, |trust| trust.policy),
            epoch: self.memory.epoch,
            used: None,
            outcome: Outcome::Refused,
            refusal: None,
            presses: 0,
            before: None,
            after: None,
            is_test: self.trust.as_ref().is_some_and(|trust| trust.is_test),
            tampered: self.memory.tampered,
        }
    }

    fn sign(&mut self, receipt: &Receipt, settles: bool) -> bool {
        let payload = receipt.to_bytes();
        let Some(envelope) = Envelope::sign(Kind::Receipt, &payload, &[&self.key]) else { return false };
        let envelope = envelope.to_bytes();
        self.hands.say(&envelope);
        self.journal(&Entry::Receipt { number: receipt.number, digest: digest(&[&envelope]), settles })
    }
}
