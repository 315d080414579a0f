//! What the office knows of a seal, and whether what the seal says agrees with it (pure).
//!
//! Receipts are compared one by one, as they come: numbers without gaps, each with the digest of the one before, uses within
//! their grants, a counter that moves by one with each use and never back. What does not agree is a [`Finding`]: the receipt
//! is kept all the same, because it is evidence.

use seal::grant::{Evidence, Id};
use seal::keys::{Digest, PublicKey};
use seal::receipt::{Outcome, Receipt};
use wire::{Area, GatewayId};

use super::finding::Finding;

/// Furthest that the number of a receipt may be ahead of the last one: a device makes some hundreds a day. Who has its key
/// and goes on from there must not use up the numbers of the device that takes its place.
pub const MOST_AHEAD: u64 = 1_000_000;

/// A seal as the office has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Its name.
    pub seal: String,
    /// Where it belongs.
    pub area: Area,
    /// The gateway that it is part of.
    pub gateway: GatewayId,
    /// The key of its device.
    pub key: PublicKey,
    /// Number of its newest rules; 0 when it has none.
    pub policy: u32,
    /// The epoch of its revocations.
    pub epoch: u32,
    /// The sequence that the next grant for it gets.
    pub next_sequence: u64,
    /// Grants below this one are over.
    pub min_sequence: u64,
    /// How many times of tampering somebody has looked into.
    pub cleared: u32,
    /// Whether it is locked from here.
    pub is_locked: bool,
    /// Number of its last receipt.
    pub receipts: u64,
    /// Digest of that.
    pub last_receipt: Digest,
    /// What its counter showed then.
    pub counter: u64,
    /// How many times of tampering it has told.
    pub tampered: u32,
    /// When it was heard last, in milliseconds since 1970 UTC.
    pub heard_ms: i64,
    /// The question of a hello that did not agree: it was told the time, and asked again.
    pub doubted: Option<Id>,
    /// The last receipt of a use that somebody was made to do.
    pub duress: u64,
    /// Number of its last receipt when it got another key, until the new device has shown that it goes on from there.
    pub began: u64,
}

/// A grant as far as receipts are measured by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The digest of what was signed.
    pub digest: Digest,
    /// Its number at the seal.
    pub sequence: u64,
    /// How many uses it has.
    pub max_uses: u16,
    /// The newest use of which there is a receipt.
    pub used: u16,
    /// When it was taken back, in seconds since 1970 UTC.
    pub revoked_s: Option<u64>,
    /// What had to be photographed.
    pub evidence: Evidence,
}

impl Book {
    /// A seal of which nothing was heard yet.
    pub fn new(seal: &str, area: Area, gateway: GatewayId, key: PublicKey) -> Self {
        Self {
            seal: seal.into(),
            area,
            gateway,
            key,
            policy: 0,
            epoch: 0,
            next_sequence: 1,
            min_sequence: 0,
            cleared: 0,
            is_locked: false,
            receipts: 0,
            last_receipt: [0; 32].into(),
            counter: 0,
            tampered: 0,
            heard_ms: 0,
            doubted: None,
            duress: 0,
            began: 0,
        }
    }

    /// Compares a receipt with what is known, and takes it in. `digest` names it, `granted` is the grant that it names, if
    /// there is one; `twin` whether there is another receipt with this number.
    pub fn take(
        &mut self,
        receipt: &Receipt,
        digest: Digest,
        granted: Option<&mut Granted>,
        twin: bool,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        // What fills a gap came late, and what it says of counter and uses is behind what is known.
        let is_late = receipt.number <= self.receipts && !twin;
        self.look_at_chain(receipt, digest, twin, &mut found);
        if !is_late {
            self.look_at_counter(receipt, &mut found);
        }
        if let Some(used) = receipt.used.filter(|used| used.number > 0) {
            match granted {
                Some(granted) => granted.look(&used, receipt, is_late, &mut found),
                None => found.push(Finding::Unlogged),
            }
            if used.sequence < self.min_sequence {
                found.push(Finding::Voided);
            }
        }
        self.tampered = self.tampered.max(receipt.tampered);
        match receipt.outcome {
            Outcome::PressedAgain => found.push(Finding::PressedAgain(receipt.presses)),
            Outcome::Unknown => found.push(Finding::Unknown),
            Outcome::Tampered => found.push(Finding::Tampered),
            Outcome::NotClosed => found.push(Finding::NotClosed),
            Outcome::Stamped | Outcome::NotPressed | Outcome::Refused => {}
        }
        found
    }

    fn look_at_chain(&mut self, receipt: &Receipt, digest: Digest, twin: bool, found: &mut Vec<Finding>) {
        let number = receipt.number;
        if twin || number <= self.receipts {
            // What was missing may come late; what is there already is a twin.
            if twin {
                found.push(Finding::Twin(number));
            }
            return;
        }
        let next = self.receipts + 1;
        if number > next {
            found.push(Finding::Gap(next, number - 1));
            if number - self.receipts > MOST_AHEAD {
                return;
            }
        } else if receipt.previous != self.last_receipt {
            found.push(Finding::Chain(number));
        }
        self.receipts = number;
        self.last_receipt = digest;
    }

    fn look_at_counter(&mut self, receipt: &Receipt, found: &mut Vec<Finding>) {
        let uses = u64::from(receipt.used.is_some_and(|used| used.number > 0));
        let (before, shown) = (self.counter, receipt.counter);
        let is_gap = found.iter().any(|finding| matches!(finding, Finding::Gap(..) | Finding::Twin(..)));
        // Of a use that the power ended before the counter was moved, it was moved by the start: the same number.
        if shown < before.saturating_add(uses) {
            found.push(Finding::CounterBack(before, shown));
        } else if shown > before.saturating_add(uses) && !is_gap {
            found.push(Finding::CounterAhead(before, shown));
        }
        self.counter = before.max(shown);
    }
}

impl Granted {
    fn look(
        &mut self,
        used: &seal::receipt::UseOf,
        receipt: &Receipt,
        is_late: bool,
        found: &mut Vec<Finding>,
    ) {
        let is_stamped = matches!(receipt.outcome, Outcome::Stamped | Outcome::PressedAgain);
        let Evidence { before, after, .. } = self.evidence;
        if is_stamped && (before && receipt.before.is_none() || after && receipt.after.is_none()) {
            found.push(Finding::NoPhotograph);
        }
        if used.digest != self.digest || used.sequence != self.sequence || used.of != self.max_uses {
            found.push(Finding::Changed);
        }
        if used.number > self.max_uses {
            found.push(Finding::OverUsed(used.number, self.max_uses));
        }
        if used.number <= self.used && !is_late {
            found.push(Finding::UsedTwice(used.number));
        } else if used.number > self.used + 1 {
            found.push(Finding::Unreported(self.used + 1, used.number - 1));
        }
        self.used = self.used.max(used.number);
        if let Some(late_s) = self.revoked_s.and_then(|revoked_s| receipt.scene.at_s.checked_sub(revoked_s)) {
            found.push(Finding::AfterRevocation(late_s));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use seal::keys::{MemoryKey, Signer, digest};
    use seal::receipt::{Scene, TimeQuality, UseOf, VERSION};
    use seal::refusal::Refusal;

    use super::*;

    const GRANT: [u8; 16] = [1; 16];

    pub(in crate::office) fn book() -> Book {
        let (area, gateway) = (Area::new("370124/gongli").unwrap(), GatewayId::new("gongli-07").unwrap());
        let fresh = Book::new("gongli-07", area, gateway, MemoryKey::from_secret(&[9; 32]).public());
        let last_receipt = digest(&[b"ten"]);
        Book { policy: 1, next_sequence: 5, receipts: 10, last_receipt, counter: 20, ..fresh }
    }

    pub(in crate::office) fn granted() -> Granted {
        let evidence = Evidence { before: false, after: true, person: true };
        Granted { digest: digest(&[b"grant"]), sequence: 4, max_uses: 2, used: 0, revoked_s: None, evidence }
    }

    pub(in crate::office) fn use_of(number: u16) -> UseOf {
        UseOf { grant: GRANT.into(), digest: digest(&[b"grant"]), sequence: 4, number, of: 2 }
    }

    pub(in crate::office) fn stamped(number: u64) -> Receipt {
        Receipt {
            version: VERSION,
            seal: "gongli-07".into(),
            number,
            previous: digest(&[b"ten"]),
            counter: 21,
            boot: [0; 16].into(),
            scene: Scene { at_s: 1000, time: TimeQuality::Synced, position: None, person: None },
            policy: 1,
            epoch: 0,
            used: Some(use_of(1)),
            outcome: Outcome::Stamped,
            refusal: None,
            presses: 1,
            before: None,
            after: Some(digest(&[b"impression"])),
            is_test: false,
            tampered: 0,
        }
    }

    fn take(receipt: &Receipt, granted: Option<Granted>, twin: bool) -> Vec<Finding> {
        let mut granted = granted;
        book().take(receipt, digest(&[b"eleven"]), granted.as_mut(), twin)
    }

    #[test]
    fn what_agrees_is_no_finding() {
        assert_eq!(take(&stamped(11), Some(granted()), false), []);
        let refused = Receipt {
            outcome: Outcome::Refused,
            refusal: Some(Refusal::UsedUp),
            used: Some(use_of(0)),
            presses: 0,
            counter: 20,
            ..stamped(11)
        };
        assert_eq!(take(&refused, None, false), [], "a refusal uses nothing, whatever it names");
        let mut book = book();
        let mut granted = granted();
        let first = stamped(11);
        assert_eq!(book.take(&first, digest(&[b"eleven"]), Some(&mut granted), false), []);
        let second =
            Receipt { previous: digest(&[b"eleven"]), counter: 22, used: Some(use_of(2)), ..stamped(12) };
        assert_eq!(book.take(&second, digest(&[b"twelve"]), Some(&mut granted), false), []);
        assert_eq!((book.receipts, book.counter, granted.used), (12, 22, 2));
    }

    #[test]
    fn what_does_not_agree_is_found() {
        let good = || stamped(11);
        let old = |number: u16| UseOf { digest: digest(&[b"another"]), ..use_of(number) };
        let is = |outcome, presses| Receipt { outcome, presses, ..good() };
        let revoked = Granted { revoked_s: Some(900), ..granted() };
        for (receipt, granted, twin, expected) in [
            (Receipt { counter: 23, ..stamped(13) }, Some(granted()), false, vec![Finding::Gap(11, 12)]),
            (good(), Some(granted()), true, vec![Finding::Twin(11)]),
            (
                Receipt { previous: digest(&[b"x"]), ..good() },
                Some(granted()),
                false,
                vec![Finding::Chain(11)],
            ),
            (good(), None, false, vec![Finding::Unlogged]),
            (Receipt { used: Some(old(1)), ..good() }, Some(granted()), false, vec![Finding::Changed]),
            (good(), Some(Granted { used: 1, ..granted() }), false, vec![Finding::UsedTwice(1)]),
            (
                Receipt { used: Some(use_of(2)), ..good() },
                Some(granted()),
                false,
                vec![Finding::Unreported(1, 1)],
            ),
            (
                Receipt { used: Some(use_of(3)), ..good() },
                Some(Granted { used: 2, ..granted() }),
                false,
                vec![Finding::OverUsed(3, 2)],
            ),
            (Receipt { counter: 20, ..good() }, Some(granted()), false, vec![Finding::CounterBack(20, 20)]),
            (Receipt { counter: 25, ..good() }, Some(granted()), false, vec![Finding::CounterAhead(20, 25)]),
            (good(), Some(revoked), false, vec![Finding::AfterRevocation(100)]),
            (is(Outcome::PressedAgain, 3), Some(granted()), false, vec![Finding::PressedAgain(3)]),
            (is(Outcome::Unknown, 0), Some(granted()), false, vec![Finding::Unknown]),
            (is(Outcome::Tampered, 0), Some(granted()), false, vec![Finding::Tampered]),
            (is(Outcome::NotClosed, 0), Some(granted()), false, vec![Finding::NotClosed]),
            (Receipt { after: None, ..good() }, Some(granted()), false, vec![Finding::NoPhotograph]),
        ] {
            assert_eq!(take(&receipt, granted, twin), expected);
        }
    }

    #[test]
    fn a_number_that_no_device_reaches_moves_nothing() {
        for (number, head) in
            [(i64::MAX as u64, 10), (11 + MOST_AHEAD, 10), (10 + MOST_AHEAD, 10 + MOST_AHEAD)]
        {
            let mut book = book();
            let found = book.take(&stamped(number), digest(&[b"far"]), Some(&mut granted()), false);
            assert_eq!((found, book.receipts), (vec![Finding::Gap(11, number - 1)], head));
        }
    }

    #[test]
    fn what_was_missing_may_come_late() {
        let (mut book, mut granted) = (book(), granted());
        let second = Receipt { counter: 22, used: Some(use_of(2)), ..stamped(12) };
        let found = book.take(&second, digest(&[b"twelve"]), Some(&mut granted), false);
        assert_eq!(found, [Finding::Gap(11, 11), Finding::Unreported(1, 1)]);
        assert_eq!(book.take(&stamped(11), digest(&[b"eleven"]), Some(&mut granted), false), []);
        assert_eq!((book.receipts, book.counter, granted.used), (12, 22, 2));
        book.min_sequence = 5;
        let third = Receipt { counter: 23, previous: digest(&[b"twelve"]), tampered: 3, ..stamped(13) };
        let found = book.take(&third, digest(&[b"13"]), Some(&mut Granted { used: 0, ..granted }), false);
        assert_eq!((found, book.tampered), (vec![Finding::Voided], 3));
    }
}
