//! What a seal is told when it says hello (pure).
//!
//! Who replays an old hello must not make the office believe that a seal has forgotten something, and nothing that heals must
//! be said to a device that is not there. So a hello counts while it is fresh, and only once. When something does not agree
//! the seal is told the time, stays locked, and is asked again: only who has heard that answer can say so.

use seal::grant::Id;
use seal::memory::Contact;
use seal::receipt::TimeQuality;
use seal::talk::{Answer, Hello, MAX_REVOKED, VERSION};

use super::book::Book;
use super::finding::Finding;

/// A revocation that a seal may not have heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// The grant, or the delegation.
    pub grant: Id,
    /// When it would have expired, in seconds since 1970 UTC.
    pub expires_s: u64,
    /// In which epoch it was taken back.
    pub epoch: u32,
}

/// For how long a hello counts, in seconds: a seal says one only when it is connected, and what it says travels at once.
pub const FRESH_S: u64 = 3600;

/// What becomes of a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is answered.
    Answered(Reply),
    /// It is from another time, and counts for nothing.
    Stale,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The answer, to be signed.
    pub answer: Answer,
    /// What does not agree.
    pub found: Vec<Finding>,
    /// Whether all grants that were given so far are over: the seal does not know which of them it has used.
    pub voids: bool,
    /// Whether it has to ask again at once.
    pub again: bool,
}

/// Answers a hello that was received at `received_s`. `revoked` are the revocations behind the epoch that the seal has heard,
/// in their order.
pub fn reply(hello: &Hello, book: &Book, revoked: &[Revoked], received_s: u64, now_s: u64) -> Heard {
    let is_fresh = |at_s: u64| at_s.abs_diff(now_s) <= FRESH_S;
    if !is_fresh(received_s) || hello.time == TimeQuality::Synced && !is_fresh(hello.at_s) {
        return Heard::Stale;
    }
    let mut found = Vec::new();
    // More counted than remembered: the state of an old card. What was used since then is not in it.
    if hello.counter > hello.remembered {
        found.push(Finding::OldState(hello.remembered, hello.counter));
    }
    // A new device in the place of another knows nothing of what that has made.
    let is_new_device = hello.receipts == 0 && book.receipts == book.began;
    if hello.receipts < book.receipts && !is_new_device {
        found.push(Finding::SetBack(hello.receipts, book.receipts));
    }
    // The same number, and another receipt: it went on from an old state.
    if hello.receipts == book.receipts && hello.last_receipt != book.last_receipt {
        found.push(Finding::Twin(book.receipts));
    }
    let has_forgotten = !found.is_empty();
    let again = has_forgotten && (hello.answered.is_none() || hello.answered != book.doubted);
    // It was sent before this, and is not here.
    if hello.receipts > book.receipts {
        found.push(Finding::Gap(book.receipts + 1, hello.receipts));
    }
    if hello.epoch > book.epoch {
        found.push(Finding::EpochAhead(hello.epoch, book.epoch));
    }
    if hello.duress > book.duress {
        found.push(Finding::Duress(hello.duress));
    }
    let voids = has_forgotten && !again;
    let min_sequence = if voids { book.next_sequence } else { book.min_sequence };
    // What does not fit into one answer comes with the next: this one goes as far as it goes, by whole epochs.
    let fits = revoked.len() <= MAX_REVOKED;
    let epoch = match revoked.get(MAX_REVOKED) {
        Some(first_left_out) => first_left_out.epoch - 1,
        None => book.epoch,
    };
    let told = revoked.iter().filter(|revoked| fits || revoked.epoch <= epoch);
    let tampered = book.tampered.max(hello.tampered);
    let contact = Contact {
        since: hello.epoch,
        epoch: epoch.max(hello.epoch),
        revoked: told.map(|revoked| (revoked.grant, revoked.expires_s)).collect(),
        lock: book.is_locked || tampered > book.cleared,
        cleared: book.cleared,
        min_sequence,
        counter: hello.counter,
        at_s: now_s,
        receipts: book.receipts,
        last_receipt: book.last_receipt,
        tampered,
        policy: book.policy,
    };
    let contact = if again {
        found.retain(|finding| matches!(finding, Finding::Duress(_)));
        // The time, and nothing that heals.
        let (counter, last_receipt) = (hello.remembered, hello.last_receipt);
        Contact { lock: true, counter, receipts: 0, last_receipt, ..contact }
    } else {
        contact
    };
    let answer = Answer { version: VERSION, seal: book.seal.clone(), nonce: hello.nonce, contact };
    Heard::Answered(Reply { answer, found, voids, again })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::draft::tests::book;

    fn hello() -> Hello {
        Hello {
            version: VERSION,
            seal: "gongli-07".into(),
            nonce: [7; 16].into(),
            boot: [8; 16].into(),
            at_s: 1000,
            time: TimeQuality::Synced,
            receipts: 5,
            last_receipt: [0; 32].into(),
            epoch: 4,
            policy: 3,
            counter: 30,
            remembered: 30,
            tampered: 0,
            is_locked: false,
            held: Vec::new(),
            answered: None,
            duress: 0,
        }
    }

    /// The same, after it was told the time.
    fn confirmed(hello: Hello) -> Hello {
        Hello { answered: Some([6; 16].into()), ..hello }
    }

    fn answered(hello: &Hello, book: &Book, revoked: &[Revoked]) -> Reply {
        let book = &Book { doubted: Some([6; 16].into()), ..book.clone() };
        match reply(hello, book, revoked, 1000, 1000) {
            Heard::Answered(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn revoked(count: u32) -> Vec<Revoked> {
        (0..count).map(|n| Revoked { grant: [n as u8; 16].into(), expires_s: 9000, epoch: 5 + n }).collect()
    }

    #[test]
    fn a_seal_hears_what_it_has_not_heard() {
        let book = Book { receipts: 5, is_locked: true, cleared: 1, ..book() };
        let Reply { answer, found, voids, .. } = answered(&hello(), &book, &revoked(3));
        assert_eq!((found, voids), (vec![], false));
        let Contact { since, epoch, lock, cleared, min_sequence, counter, ref revoked, .. } = answer.contact;
        assert_eq!((since, epoch, lock, cleared, min_sequence, counter), (4, 7, true, 1, 0, 30));
        assert_eq!(revoked.len(), 3);
        assert_eq!(Answer::read(&answer.to_bytes()), Some(answer));
    }

    #[test]
    fn a_seal_that_has_heard_of_what_nobody_said_is_told_of() {
        let Reply { answer, found, voids, .. } =
            answered(&hello(), &Book { receipts: 5, epoch: 3, ..book() }, &[]);
        assert_eq!((found, voids), (vec![Finding::EpochAhead(4, 3)], false));
        assert_eq!(answer.contact.epoch, 4);
    }

    #[test]
    fn many_revocations_come_in_parts_without_a_hole() {
        let many = Book { epoch: 4 + 250, ..book() };
        let (mut epoch, mut heard) = (4, 0);
        for _ in 0..3 {
            let left: Vec<Revoked> = revoked(250).into_iter().filter(|one| one.epoch > epoch).collect();
            let contact = answered(&Hello { epoch, receipts: 0, ..hello() }, &many, &left).answer.contact;
            assert_eq!(contact.since, epoch);
            heard += contact.revoked.len();
            epoch = contact.epoch;
        }
        assert_eq!((epoch, heard), (254, 250));
    }

    #[test]
    fn a_seal_that_has_forgotten_starts_afresh() {
        let old = confirmed(Hello { remembered: 28, ..hello() });
        let Reply { answer, found, voids, .. } = answered(&old, &Book { receipts: 5, ..book() }, &[]);
        assert_eq!(found, [Finding::OldState(28, 30)]);
        assert!(voids && answer.contact.min_sequence == 12 && answer.contact.counter == 30);
        let ahead = Book { receipts: 6, last_receipt: [6; 32].into(), ..book() };
        let back = answered(&confirmed(hello()), &ahead, &[]);
        assert_eq!((back.found, back.voids), (vec![Finding::SetBack(5, 6)], true));
        let other = confirmed(Hello { last_receipt: [5; 32].into(), receipts: 6, ..hello() });
        assert_eq!(answered(&other, &ahead, &[]).found, [Finding::Twin(6)]);
        assert_eq!((back.answer.contact.receipts, back.answer.contact.last_receipt), (6, [6; 32].into()));
    }

    #[test]
    fn an_old_hello_does_no_harm() {
        let ahead = Book { receipts: 6, ..book() };
        for (hello, received_s, now_s, is_heard, why) in [
            (hello(), 1000 + FRESH_S, 1000 + FRESH_S, true, "an hour old"),
            (hello(), 1001 + FRESH_S, 1001 + FRESH_S, false, "older"),
            (hello(), 1000, 1001 + FRESH_S, false, "held here for longer"),
            (Hello { time: TimeQuality::Floor, ..hello() }, 9000, 9000, true, "it does not know the time"),
        ] {
            assert_eq!(reply(&hello, &ahead, &[], received_s, now_s) != Heard::Stale, is_heard, "{why}");
        }
        for (hello, why) in [
            (hello(), "it has heard nothing"),
            (Hello { answered: Some([5; 16].into()), ..hello() }, "it has heard something else"),
        ] {
            let Reply { answer, found, voids, again } = answered(&hello, &ahead, &[]);
            assert_eq!((found, voids, again), (vec![], false, true), "{why}");
            let Contact { lock, min_sequence, receipts, .. } = answer.contact;
            assert_eq!((lock, min_sequence, receipts), (true, 0, 0), "it stays as it is, and closed");
        }
        let agrees = answered(&hello(), &Book { receipts: 5, ..book() }, &[]);
        assert!(!agrees.again && !agrees.answer.contact.lock);
    }

    #[test]
    fn what_is_missing_and_what_is_hidden_is_found() {
        let behind = Book { receipts: 3, duress: 4, ..book() };
        let found = answered(&Hello { duress: 5, ..hello() }, &behind, &[]).found;
        assert_eq!(found, [Finding::Gap(4, 5), Finding::Duress(5)]);
        assert_eq!(answered(&Hello { duress: 4, ..hello() }, &Book { receipts: 5, ..behind }, &[]).found, []);
    }

    #[test]
    fn tampering_is_forgotten_by_nobody() {
        let here = Book { receipts: 5, ..book() };
        for (said, known, cleared, lock) in
            [(0, 0, 0, false), (1, 0, 0, true), (0, 1, 0, true), (0, 2, 2, false), (3, 2, 2, true)]
        {
            let contact = answered(
                &Hello { tampered: said, ..hello() },
                &Book { tampered: known, cleared, ..here.clone() },
                &[],
            );
            let Contact { lock: found, tampered, .. } = contact.answer.contact;
            assert_eq!((found, tampered), (lock, said.max(known)), "{said} {known} {cleared}");
        }
    }
}
