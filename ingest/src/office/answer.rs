//! What a seal is told when it says hello (pure).
//!
//! Who replays an old hello must not make the office believe that a seal has forgotten something. So a hello counts while it
//! is fresh, and only once. When something does not agree and the seal does not know the time, it is told the time, stays
//! locked, and is asked again: only the seal itself can answer that.

use seal::grant::Id;
use seal::memory::Contact;
use seal::receipt::TimeQuality;
use seal::talk::{Answer, Hello, MAX_REVOKED, VERSION};

use super::book::{Book, Finding};

/// A revocation that a seal may not have heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// The grant.
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
    if hello.time == TimeQuality::Synced && hello.at_s.abs_diff(received_s) > FRESH_S {
        return Heard::Stale;
    }
    let mut found = Vec::new();
    // More counted than remembered: the state of an old card. What was used since then is not in it.
    let is_old = hello.counter > hello.remembered;
    if is_old {
        found.push(Finding::OldState(hello.remembered, hello.counter));
    }
    let is_set_back = hello.receipts < book.receipts;
    if is_set_back {
        found.push(Finding::SetBack(hello.receipts, book.receipts));
    }
    // The same number, and another receipt: it went on from an old state.
    let is_twin = hello.receipts == book.receipts && hello.last_receipt != book.last_receipt;
    if is_twin {
        found.push(Finding::Twin(book.receipts));
    }
    let voids = is_old || is_set_back || is_twin;
    let min_sequence = if voids { book.next_sequence } else { book.min_sequence };
    // What does not fit into one answer comes with the next: this one goes as far as it goes, by whole epochs.
    let fits = revoked.len() <= MAX_REVOKED;
    let epoch = match revoked.get(MAX_REVOKED) {
        Some(first_left_out) => first_left_out.epoch - 1,
        None => book.epoch,
    };
    let told = revoked.iter().filter(|revoked| fits || revoked.epoch <= epoch);
    let contact = Contact {
        since: hello.epoch,
        epoch: epoch.max(hello.epoch),
        revoked: told.map(|revoked| (revoked.grant, revoked.expires_s)).collect(),
        lock: book.is_locked,
        cleared: book.cleared,
        min_sequence,
        counter: hello.counter,
        at_s: now_s,
        receipts: book.receipts,
        last_receipt: book.last_receipt,
    };
    let again = voids && hello.time != TimeQuality::Synced;
    let (contact, found, voids) = if again {
        // The time, and nothing that heals.
        let (counter, min_sequence, last_receipt) = (hello.remembered, book.min_sequence, hello.last_receipt);
        (
            Contact { lock: true, counter, min_sequence, receipts: 0, last_receipt, ..contact },
            Vec::new(),
            false,
        )
    } else {
        (contact, found, voids)
    };
    let answer = Answer {
        version: VERSION,
        seal: book.seal.clone(),
        nonce: hello.nonce,
        contact,
        policy: book.policy,
    };
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
        }
    }

    fn answered(hello: &Hello, book: &Book, revoked: &[Revoked]) -> Reply {
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
        let old = Hello { remembered: 28, ..hello() };
        let Reply { answer, found, voids, .. } = answered(&old, &Book { receipts: 5, ..book() }, &[]);
        assert_eq!(found, [Finding::OldState(28, 30)]);
        assert!(voids && answer.contact.min_sequence == 12 && answer.contact.counter == 30);
        let ahead = Book { receipts: 6, last_receipt: [6; 32].into(), ..book() };
        let back = answered(&hello(), &ahead, &[]);
        assert_eq!((back.found, back.voids), (vec![Finding::SetBack(5, 6)], true));
        let other = Hello { last_receipt: [5; 32].into(), receipts: 6, ..hello() };
        assert_eq!(answered(&other, &ahead, &[]).found, [Finding::Twin(6)]);
        assert_eq!((back.answer.contact.receipts, back.answer.contact.last_receipt), (6, [6; 32].into()));
    }

    #[test]
    fn an_old_hello_does_no_harm() {
        let (ahead, fresh) = (Book { receipts: 6, ..book() }, 1000 + FRESH_S);
        assert!(matches!(reply(&hello(), &ahead, &[], fresh, fresh), Heard::Answered(_)));
        assert_eq!(reply(&hello(), &ahead, &[], fresh + 1, fresh + 1), Heard::Stale);
        let timeless = Hello { time: TimeQuality::Floor, ..hello() };
        let Reply { answer, found, voids, again } = answered(&timeless, &ahead, &[]);
        assert_eq!((found, voids, again), (vec![], false, true));
        let Contact { lock, min_sequence, receipts, .. } = answer.contact;
        assert_eq!((lock, min_sequence, receipts), (true, 0, 0), "it stays as it is, and closed");
        let agrees = answered(&timeless, &Book { receipts: 5, ..book() }, &[]);
        assert!(!agrees.again && !agrees.answer.contact.lock);
    }
}
