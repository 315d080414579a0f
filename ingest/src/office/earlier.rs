//! What a key says that a seal had before (pure).
//!
//! A device that was replaced may have stamped without a network, and its receipts come when somebody carries it home. They
//! are on record like all others: leaves, and uses of their grants. But who stole the old device can sign what they like and
//! date it back, and nobody can tell that from what was late. So it counts only as far as that key can have come:
//! - by its own clock it is from before the change;
//! - its number is one that was missing, or one of [`LATE`] behind the last that was known, and each number counts once;
//! - it is one of [`LATE`] at most that have come since;
//! - its use is of a grant that was there before the change. All of those are over: no stamp can follow from it.
//!
//! Whatever does not keep to that is strange, as from any stranger. What does is told each time, covers no impression (see
//! `check`), and changes nothing of the seal as it is now: not its chain, its counter, or its tampering. Nobody answers a
//! hello by such a key.

use seal::keys::{Digest, PublicKey};
use seal::receipt::Receipt;

use super::book::{Book, Granted};
use super::finding::Finding;

/// How many receipts a device may have made that nobody had heard of when its key was changed: some leases' worth of stamps,
/// and refusals beside them.
const LATE: u64 = 1000;

/// A key that a seal had before, and how far it had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// The key.
    pub key: PublicKey,
    /// Until when it was the seal's, in seconds since 1970 UTC.
    pub until_s: u64,
    /// The number of its last receipt that was known by then.
    pub head: u64,
    /// Grants from this one on were given later.
    pub next_sequence: u64,
    /// Grants below this one were over before.
    pub min_sequence: u64,
    /// The number of its last receipt by now.
    pub receipts: u64,
    /// Digest of that.
    pub last_receipt: Digest,
    /// What its counter showed then.
    pub counter: u64,
    /// How many of its receipts have come since.
    pub late: u64,
}

impl Earlier {
    /// Whether it can have said this before the change. `twin` is whether it has signed another receipt with this number.
    pub fn can_say(&self, receipt: &Receipt, twin: bool) -> bool {
        let is_there = receipt.used.is_none_or(|used| used.number == 0 || used.sequence < self.next_sequence);
        !twin
            && self.late < LATE
            && is_there
            && receipt.scene.at_s <= self.until_s
            && receipt.number <= self.head.saturating_add(LATE)
    }
}

impl Book {
    /// Gives a seal another key; what the one before leaves behind.
    pub fn rekey(&mut self, key: PublicKey, now_s: u64) -> Earlier {
        let earlier = Earlier {
            key: self.key,
            until_s: now_s,
            head: self.receipts,
            next_sequence: self.next_sequence,
            min_sequence: self.min_sequence,
            receipts: self.receipts,
            last_receipt: self.last_receipt,
            counter: self.counter,
            late: 0,
        };
        (self.key, self.counter, self.began) = (key, 0, self.receipts);
        // Whoever had the last key may have said anything of these, and the new device begins anew.
        (self.tampered, self.cleared, self.duress) = (0, 0, 0);
        earlier
    }

    /// Compares a receipt that an earlier key can have signed with what is known of that key, and takes it in there.
    pub fn take_late(
        &self,
        earlier: &mut Earlier,
        receipt: &Receipt,
        digest: Digest,
        granted: Option<&mut Granted>,
    ) -> Vec<Finding> {
        let mut then = Book {
            key: earlier.key,
            min_sequence: earlier.min_sequence,
            receipts: earlier.receipts,
            last_receipt: earlier.last_receipt,
            counter: earlier.counter,
            ..self.clone()
        };
        let mut found = then.take(receipt, digest, granted, false);
        found.push(Finding::EarlierKey(receipt.number));
        (earlier.receipts, earlier.last_receipt, earlier.counter) =
            (then.receipts, then.last_receipt, then.counter);
        earlier.late += 1;
        found
    }
}

#[cfg(test)]
mod tests {
    use seal::keys::digest;
    use seal::receipt::UseOf;

    use super::super::book::tests::{book, granted, stamped, use_of};
    use super::super::draft::tests::key;
    use super::*;
    use seal::keys::Signer as _;

    #[test]
    fn an_earlier_key_says_only_what_it_can_have_said() {
        let mut next = Book { tampered: u32::MAX, cleared: 2, duress: i64::MAX as u64, ..book() };
        let earlier = next.rekey(key(10).public(), 2000);
        assert_eq!(
            (next.tampered, next.cleared, next.duress),
            (0, 0, 0),
            "what the thief has said dies with the key"
        );
        let used = |sequence| Some(UseOf { sequence, ..use_of(1) });
        for (receipt, twin, can, why) in [
            (stamped(11), false, true, "the next one"),
            (stamped(9), false, true, "one that was missing"),
            (stamped(9), true, false, "one that is there"),
            (stamped(10 + LATE), false, true, "as many as there can be"),
            (stamped(11 + LATE), false, false, "more"),
            (Receipt { used: None, ..stamped(11) }, false, true, "no use"),
            (Receipt { used: used(4), ..stamped(11) }, false, true, "a grant from before"),
            (Receipt { used: used(5), ..stamped(11) }, false, false, "a grant from later"),
        ] {
            assert_eq!(earlier.can_say(&receipt, twin), can, "{why}");
        }
        assert!(!Earlier { late: LATE, ..earlier.clone() }.can_say(&stamped(9), false), "too many have come");
        for (until_s, can) in [(1000, true), (999, false)] {
            assert_eq!(Earlier { until_s, ..earlier.clone() }.can_say(&stamped(11), false), can);
        }
    }

    #[test]
    fn what_an_earlier_key_says_changes_nothing_of_the_seal_as_it_is() {
        let mut book = book();
        let mut earlier = book.rekey(key(10).public(), 2000);
        (book.min_sequence, book.receipts) = (5, 12);
        let (before, mut granted) = (book.clone(), granted());
        let late = Receipt { tampered: 3, ..stamped(11) };
        let found = book.take_late(&mut earlier, &late, digest(&[b"late"]), Some(&mut granted));
        assert_eq!(found, [Finding::EarlierKey(11)]);
        assert_eq!((&book, granted.used), (&before, 1));
        assert_eq!((earlier.receipts, earlier.counter, earlier.late), (11, 21, 1));
        let next = Receipt { previous: digest(&[b"another"]), counter: 22, ..stamped(12) };
        let found = book.take_late(&mut earlier, &next, digest(&[b"next"]), Some(&mut granted));
        assert_eq!(found, [Finding::Chain(12), Finding::UsedTwice(1), Finding::EarlierKey(12)]);
    }
}
