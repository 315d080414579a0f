//! When to say hello, and what the answers are worth. Pure.
//!
//! A question is random, asked once, and only its first answer counts. What is heard was true when it was asked: so the time
//! alone counts from the question, not from the answer, and an answer that somebody holds back is an old one.

use ::seal::grant::Id;

/// Shortest time between two questions, in ms: whoever asks to be asked cannot fill the disk.
pub const SOONEST_MS: u64 = 2_000;
/// How long an answer may take before the question is asked again, in ms; it doubles up to the usual pause.
pub const ANSWER_MS: u64 = 30_000;
/// The authority's time is taken for the time when its answer came within so many ms: no more can it be wrong by.
pub const TIMELY_MS: u64 = 60_000;

/// What was asked last.
#[derive(Debug, Clone, Copy)]
struct Asked {
    nonce: Id,
    at_ms: u64,
}

/// What was heard last.
#[derive(Debug, Clone, Copy)]
struct Heard {
    asked_ms: u64,
    heard_ms: u64,
    /// The authority's time then, in seconds since 1970 UTC.
    at_s: u64,
}

/// Questions and answers since the start.
#[derive(Debug)]
pub struct Contact {
    every_ms: u64,
    asked: Option<Asked>,
    /// When the last question was asked, forgotten or not.
    last_ms: Option<u64>,
    /// Questions without an answer, in a row.
    unanswered: u32,
    heard: Option<Heard>,
    is_wanted: bool,
}

impl Contact {
    /// Nothing asked, nothing heard. `every_ms`: the usual pause between two questions.
    pub fn new(every_ms: u64) -> Self {
        Self { every_ms, asked: None, last_ms: None, unanswered: 0, heard: None, is_wanted: true }
    }

    /// There is something to be heard, or told.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Whether to ask now. `lease_s`: how long the seal works without contact, if that is known.
    pub fn is_due(&self, now_ms: u64, lease_s: Option<u64>) -> bool {
        let Some(last_ms) = self.last_ms else { return true };
        let since_ms = now_ms.saturating_sub(last_ms);
        if since_ms < SOONEST_MS {
            return false;
        }
        let patience_ms = match self.unanswered {
            0 => self.every_ms,
            more => ANSWER_MS.saturating_mul(1 << (more - 1).min(16)).min(self.every_ms),
        };
        let is_half_over = self.heard.zip(lease_s).is_some_and(|(heard, lease_s)| {
            now_ms.saturating_sub(heard.asked_ms) >= lease_s.saturating_mul(500) && since_ms >= ANSWER_MS
        });
        self.is_wanted || since_ms >= patience_ms || is_half_over
    }

    /// This was asked: whatever was asked before counts no more.
    pub fn ask(&mut self, nonce: Id, now_ms: u64) {
        self.asked = Some(Asked { nonce, at_ms: now_ms });
        self.last_ms = Some(now_ms);
        self.unanswered = self.unanswered.saturating_add(1);
        self.is_wanted = false;
    }

    /// What was asked last was answered. `at_s`: the authority's time.
    pub fn hear(&mut self, at_s: u64, now_ms: u64) {
        let Some(asked) = self.asked else { return };
        self.heard = Some(Heard { asked_ms: asked.at_ms, heard_ms: now_ms, at_s });
        self.unanswered = 0;
    }

    /// The question is forgotten: a use was made, and an answer to it must not count for another one.
    pub fn forget_question(&mut self) {
        self.asked = None;
    }

    /// What was asked last, and how many seconds ago.
    pub fn asked(&self, now_ms: u64) -> Option<(Id, u64)> {
        self.asked.map(|asked| (asked.nonce, now_ms.saturating_sub(asked.at_ms).div_ceil(1000)))
    }

    /// Seconds since what was last heard was asked; `None` when nothing was heard since the start.
    pub fn alone_s(&self, now_ms: u64) -> Option<u64> {
        self.heard.map(|heard| now_ms.saturating_sub(heard.asked_ms).div_ceil(1000))
    }

    /// What time it is by the authority, in seconds since 1970 UTC, if its answer came at once.
    pub fn time_s(&self, now_ms: u64) -> Option<u64> {
        let heard = self.heard.filter(|heard| heard.heard_ms.saturating_sub(heard.asked_ms) <= TIMELY_MS)?;
        Some(heard.at_s.saturating_add(now_ms.saturating_sub(heard.heard_ms) / 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_MS: u64 = 300_000;
    const LEASE_S: Option<u64> = Some(86_400);

    fn id(byte: u8) -> Id {
        [byte; 16].into()
    }

    /// Asked and answered at the start.
    fn heard() -> Contact {
        let mut contact = Contact::new(EVERY_MS);
        assert!(contact.is_due(0, None), "at once after a start");
        contact.ask(id(1), 0);
        contact.hear(1_000, 1_000);
        contact
    }

    #[test]
    fn it_asks_now_and_then_and_when_there_is_something() {
        let mut contact = heard();
        assert!(!contact.is_due(EVERY_MS - 1, LEASE_S) && contact.is_due(EVERY_MS, LEASE_S));
        assert!(contact.is_due(60_000, Some(120)), "half of the lease is over");
        assert!(!contact.is_due(20_000, Some(4)), "a short lease is no reason to ask all the time");
        contact.want();
        assert!(!contact.is_due(SOONEST_MS - 1, LEASE_S) && contact.is_due(SOONEST_MS, LEASE_S));
    }

    #[test]
    fn without_an_answer_it_asks_again_later_and_later() {
        let mut contact = heard();
        let (mut now_ms, mut pauses) = (EVERY_MS, Vec::new());
        for _ in 0..6 {
            contact.ask(id(2), now_ms);
            let pause_ms = (0..).step_by(1_000).find(|ms| contact.is_due(now_ms + ms, None)).unwrap();
            pauses.push(pause_ms);
            now_ms += pause_ms;
        }
        assert_eq!(pauses, [30_000, 60_000, 120_000, 240_000, EVERY_MS, EVERY_MS]);
        contact.ask(id(3), now_ms);
        contact.hear(9, now_ms);
        assert!(!contact.is_due(now_ms + 60_000, LEASE_S), "heard");
    }

    #[test]
    fn what_was_heard_is_as_old_as_its_question() {
        let mut contact = Contact::new(EVERY_MS);
        assert_eq!((contact.alone_s(5), contact.asked(5), contact.time_s(5)), (None, None, None));
        contact.hear(1_000, 5);
        assert_eq!(contact.alone_s(5), None, "what nobody asked was not heard");
        contact.ask(id(1), 10_000);
        contact.hear(1_000, 70_000);
        assert_eq!(contact.alone_s(80_000), Some(70));
        assert_eq!(contact.asked(80_000), Some((id(1), 70)));
        assert_eq!(contact.time_s(80_999), Some(1_010));
        contact.forget_question();
        assert_eq!((contact.asked(80_000), contact.alone_s(80_000)), (None, Some(70)));
        contact.ask(id(2), 100_000);
        assert_eq!(contact.time_s(100_000), Some(1_030), "the last one still holds");
        contact.hear(5_000, 100_001 + TIMELY_MS);
        assert_eq!(contact.time_s(200_000), None, "an answer that came late says only what is past");
    }
}
