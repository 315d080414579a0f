//! What a seal signs and sends: receipts, hellos, photographs. Pure.

use ::seal::envelope::{Envelope, Kind};
use ::seal::grant::Id;
use ::seal::keys::{Digest, Signer, digest};
use ::seal::memory::{Ended, Entry, Memory};
use ::seal::receipt::{self, Outcome, Receipt, Scene, UseOf};
use ::seal::refusal::Refusal;
use ::seal::talk::{self, Hello};
use boards::seal::Picture;
use wire::sealed::MAX_PART_BYTES;
use wire::{Envelopes, Payload, PicturePart};

/// Most receipts of refusals in an hour: somebody who plays with the keypad must not fill the log.
pub const REFUSALS_PER_HOUR: u32 = 30;
const HOUR_MS: u64 = 3_600_000;

/// Who signs, and by which rules.
pub struct Author<'a> {
    /// The seal.
    pub seal: &'a str,
    /// The key of the device.
    pub key: &'a dyn Signer,
    /// This run.
    pub boot: Id,
    /// Version of the rules; 0 when there are none.
    pub policy: u32,
    /// Whether the rules say that it is for rehearsals.
    pub is_test: bool,
}

/// A receipt that was signed: the entry that goes with it, and the frame.
#[derive(Debug)]
pub struct Signed {
    /// To be journaled with the frame.
    pub entry: Entry,
    /// The frame.
    pub payload: Payload,
    /// Its number.
    pub number: u64,
}

impl Author<'_> {
    /// The receipt that is owed; `None` when the key does not sign.
    pub fn settles(&self, ended: &Ended, memory: &Memory) -> Option<Signed> {
        let receipt = Receipt {
            used: ended.used,
            outcome: ended.outcome,
            presses: ended.presses,
            before: ended.before,
            after: ended.after,
            ..self.blank(ended.scene.clone(), memory)
        };
        self.signed(&receipt, true)
    }

    /// The receipt of a refusal.
    pub fn refused(
        &self,
        used: Option<UseOf>,
        why: Refusal,
        scene: Scene,
        memory: &Memory,
    ) -> Option<Signed> {
        let receipt = Receipt { used, refusal: Some(why), ..self.blank(scene, memory) };
        self.signed(&receipt, false)
    }

    fn blank(&self, scene: Scene, memory: &Memory) -> Receipt {
        Receipt {
            version: receipt::VERSION,
            seal: self.seal.into(),
            number: memory.receipts + 1,
            previous: memory.last_receipt,
            counter: memory.counter,
            boot: self.boot,
            scene,
            policy: self.policy,
            epoch: memory.epoch,
            used: None,
            outcome: Outcome::Refused,
            refusal: None,
            presses: 0,
            before: None,
            after: None,
            is_test: self.is_test,
        }
    }

    fn signed(&self, receipt: &Receipt, settles: bool) -> Option<Signed> {
        let envelope = Envelope::sign(Kind::Receipt, &receipt.to_bytes(), &[self.key])?.to_bytes();
        let entry = Entry::Receipt { number: receipt.number, digest: digest(&[&envelope]), settles };
        Some(Signed { entry, payload: payload(envelope), number: receipt.number })
    }

    /// A hello; `None` when the key does not sign. `counter`: what the counter shows.
    pub fn hello(
        &self,
        nonce: Id,
        now: &Scene,
        counter: u64,
        memory: &Memory,
        held: Vec<Id>,
    ) -> Option<Payload> {
        let hello = Hello {
            version: talk::VERSION,
            seal: self.seal.into(),
            nonce,
            boot: self.boot,
            at_s: now.at_s,
            time: now.time,
            receipts: memory.receipts,
            last_receipt: memory.last_receipt,
            epoch: memory.epoch,
            policy: self.policy,
            counter,
            remembered: memory.counter,
            tampered: memory.tampered,
            is_locked: memory.is_locked,
            held,
        };
        Some(payload(Envelope::sign(Kind::Hello, &hello.to_bytes(), &[self.key])?.to_bytes()))
    }
}

fn payload(envelope: Vec<u8>) -> Payload {
    Payload::Envelopes(Envelopes { envelopes: vec![envelope] })
}

/// A photograph: its digest, and its parts as they travel.
pub fn parts(picture: &Picture) -> (Digest, Vec<Payload>) {
    let bytes = picture.bytes();
    let digest = digest(&[bytes]);
    // A picture is shorter than 4 GiB: see its bound.
    let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let part = |(at, part): (usize, &[u8])| {
        let offset = u32::try_from(at * MAX_PART_BYTES).unwrap_or(u32::MAX);
        Payload::Picture(PicturePart { digest: *digest, total, offset, bytes: part.to_vec() })
    };
    (digest, bytes.chunks(MAX_PART_BYTES).enumerate().map(part).collect())
}

/// How many refusals were told in this hour.
#[derive(Debug, Default)]
pub struct Hour {
    since_ms: u64,
    told: u32,
    untold: u32,
}

impl Hour {
    /// Whether one more may be told.
    pub fn may_tell(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.since_ms) >= HOUR_MS {
            if self.untold > 0 {
                tracing::warn!(
                    untold = self.untold,
                    "refusals of the last hour have no receipts: there were too many"
                );
            }
            *self = Self { since_ms: now_ms, told: 0, untold: 0 };
        }
        let may = self.told < REFUSALS_PER_HOUR;
        *(if may { &mut self.told } else { &mut self.untold }) += 1;
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photograph_travels_whole() {
        let mut bytes: Vec<u8> = (0..MAX_PART_BYTES * 2 + 5).map(|n| n as u8).collect();
        bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
        bytes.extend([0xff, 0xd9]);
        let (digest, payloads) = parts(&Picture::new(bytes.clone()).unwrap());
        let mut whole = Vec::new();
        for payload in payloads {
            let Payload::Picture(part) = payload else { panic!("{payload:?}") };
            assert_eq!((part.offset as usize, part.total as usize), (whole.len(), bytes.len()));
            assert_eq!(part.digest, *digest);
            whole.extend(part.bytes);
        }
        assert_eq!(whole, bytes);
    }

    #[test]
    fn refusals_are_told_so_many_times_an_hour() {
        let mut hour = Hour::default();
        let told = (0..100).filter(|ms| hour.may_tell(*ms)).count();
        assert_eq!(told, REFUSALS_PER_HOUR as usize);
        assert!(!hour.may_tell(HOUR_MS - 1) && hour.may_tell(HOUR_MS));
    }
}
