//! A session: records with numbers that only rise, fragments one after the other, each acknowledged before the next. Pure.
//!
//! ```text
//! record     number (8 bytes), closed( head, fragment )
//! head       flags (1: carries a fragment; 2: the last one of its message), number of the fragment, newest one taken (4 each)
//! ```
//! A record that is lost is closed anew under the next number. The acknowledgement of the last fragment is that of the
//! message: it waits until whoever gets it has accepted it.

use alloc::vec::Vec;

use crate::WORD_EVERY_MS;
use crate::frame::MAX_FRAGMENT;
use crate::noise::Ciphers;

/// Bytes before the fragment.
pub(crate) const HEAD_BYTES: usize = 1 + 4 + 4;
/// The pause before something goes again doubles so often, and is no longer than [`WORD_EVERY_MS`] where the wire allows.
const MOST_DOUBLINGS: u32 = 4;

const CARRIES: u8 = 1;
const LAST: u8 = 2;

/// What came of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not of this session, or of one heard before.
    Nothing,
    /// Of this session.
    Fine {
        /// What one has sent was accepted.
        delivered: bool,
        /// A message that is whole. Nothing more is taken before it is accepted.
        message: Option<Vec<u8>>,
    },
    /// Something that the other end never says: the session is over.
    Broken,
}

struct Outgoing {
    message: Vec<u8>,
    at: usize,
    sent_ms: Option<u64>,
    tries: u32,
}

impl Outgoing {
    fn fragment(&self) -> (&[u8], bool) {
        let rest = self.message.get(self.at..).unwrap_or_default();
        (rest.get(..MAX_FRAGMENT).unwrap_or(rest), rest.len() <= MAX_FRAGMENT)
    }
}

pub(crate) struct Session {
    ciphers: Ciphers,
    /// Number of the next record.
    next: u64,
    /// The smallest number that may still come.
    least: u64,
    /// When something of the other end was heard last.
    pub(crate) heard_ms: u64,
    outgoing: Option<Outgoing>,
    /// Fragments that the other end has taken. Numbers may wrap around: one is under way at a time.
    sent: u32,
    incoming: Vec<u8>,
    taken: u32,
    /// A message was handed out and is not accepted yet.
    is_held: bool,
    owes_word: bool,
}

impl Session {
    pub(crate) fn new(ciphers: Ciphers, now_ms: u64) -> Self {
        Self {
            ciphers,
            next: 0,
            least: 0,
            heard_ms: now_ms,
            outgoing: None,
            sent: 0,
            incoming: Vec::new(),
            taken: 0,
            is_held: false,
            owes_word: false,
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.outgoing.is_none()
    }

    /// Sends a message after those before it; an empty one only wants to be acknowledged.
    pub(crate) fn send(&mut self, message: Vec<u8>) {
        self.outgoing = Some(Outgoing { message, at: 0, sent_ms: None, tries: 0 });
    }

    /// What was handed out is kept: it is acknowledged.
    pub(crate) fn accept(&mut self) {
        if core::mem::take(&mut self.is_held) {
            self.taken = self.taken.wrapping_add(1);
            self.owes_word = true;
        }
    }

    /// Hears a record. `most`: bytes of the largest message that may come.
    pub(crate) fn hear(&mut self, body: &[u8], most: usize, now_ms: u64) -> Heard {
        let Some((number, closed)) = body.split_first_chunk::<8>() else { return Heard::Nothing };
        let number = u64::from_le_bytes(*number);
        let opened = if number < self.least { None } else { self.ciphers.open(number, closed) };
        let Some(plain) = opened else { return Heard::Nothing };
        // Nobody counts so far: it could only be somebody who wants the numbers to end.
        let Some(least) = number.checked_add(1) else { return Heard::Broken };
        (self.least, self.heard_ms) = (least, now_ms);
        let Some((&[flags], rest)) = plain.split_first_chunk::<1>() else { return Heard::Broken };
        let Some((fragment, rest)) = rest.split_first_chunk::<4>() else { return Heard::Broken };
        let Some((taken, body)) = rest.split_first_chunk::<4>() else { return Heard::Broken };
        let (fragment, taken) = (u32::from_le_bytes(*fragment), u32::from_le_bytes(*taken));
        let delivered = self.acknowledged(taken);
        if flags & CARRIES == 0 {
            return Heard::Fine { delivered, message: None };
        }
        self.owes_word = true;
        if self.is_held || fragment != self.taken.wrapping_add(1) {
            return Heard::Fine { delivered, message: None };
        }
        if self.incoming.len() + body.len() > most {
            return Heard::Broken;
        }
        self.incoming.extend_from_slice(body);
        self.is_held = true;
        if flags & LAST == 0 || self.incoming.is_empty() {
            self.accept();
            return Heard::Fine { delivered, message: None };
        }
        Heard::Fine { delivered, message: Some(core::mem::take(&mut self.incoming)) }
    }

    /// Whether a message of one's own was accepted by that.
    fn acknowledged(&mut self, taken: u32) -> bool {
        let Some(outgoing) = &mut self.outgoing else { return false };
        if outgoing.sent_ms.is_none() || taken != self.sent.wrapping_add(1) {
            return false;
        }
        self.sent = taken;
        let (fragment, is_last) = outgoing.fragment();
        outgoing.at += fragment.len();
        (outgoing.sent_ms, outgoing.tries) = (None, 0);
        let is_word = outgoing.message.is_empty();
        if is_last {
            self.outgoing = None;
        }
        is_last && !is_word
    }

    /// When there is something to say; `None` when only the other end can change that.
    pub(crate) fn speaks_ms(&self, resend_ms: u64) -> Option<u64> {
        if self.owes_word { Some(0) } else { self.sends_ms(resend_ms) }
    }

    /// When the fragment that is under way goes, or goes again.
    fn sends_ms(&self, resend_ms: u64) -> Option<u64> {
        let Outgoing { sent_ms, tries, .. } = self.outgoing.as_ref()?;
        Some(sent_ms.map_or(0, |sent_ms| {
            let pause_ms = resend_ms.saturating_mul(1 << tries.saturating_sub(1).min(MOST_DOUBLINGS));
            sent_ms.saturating_add(pause_ms.min(WORD_EVERY_MS.max(resend_ms)))
        }))
    }

    /// The next record; `None` when the numbers have ended.
    pub(crate) fn speak(&mut self, resend_ms: u64, now_ms: u64) -> Option<Vec<u8>> {
        let is_due = self.sends_ms(resend_ms).is_some_and(|at_ms| at_ms <= now_ms);
        self.owes_word = false;
        let mut plain = Vec::with_capacity(HEAD_BYTES + MAX_FRAGMENT);
        let (taken, sent) = (self.taken.to_le_bytes(), self.sent.wrapping_add(1).to_le_bytes());
        match self.outgoing.as_mut().filter(|_| is_due) {
            Some(outgoing) => {
                outgoing.sent_ms = Some(now_ms);
                outgoing.tries = outgoing.tries.saturating_add(1);
                let (fragment, is_last) = outgoing.fragment();
                plain.push(CARRIES | if is_last { LAST } else { 0 });
                plain.extend(sent);
                plain.extend(taken);
                plain.extend_from_slice(fragment);
            }
            None => {
                plain.push(0);
                plain.extend([0; 4]);
                plain.extend(taken);
            }
        }
        let closed = self.ciphers.close(self.next, &plain)?;
        let record = [&self.next.to_le_bytes()[..], &closed].concat();
        self.next = self.next.checked_add(1)?;
        Some(record)
    }
}
