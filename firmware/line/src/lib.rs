//! A serial line between a smart seal and the gateway that is its post office.
//!
//! The seal has its own key, memory and decision; the gateway carries what it has signed upward, and downward what the
//! authority says. Neither believes the other because of the line: what is signed is signed. But a stranger at the wire
//! learns nothing, puts nothing in and plays nothing back; the most that can be done there is silence.
//!
//! # Layout
//! - [`frame`]: bytes on the wire; [`noise`]: who is at the other end, and the keys of a session
//! - `session`: fragments, acknowledged one by one; [`message`]: what is said
//! - [`Line`]: one end of it, here
//!
//! Nothing here does IO or reads a clock: bytes and the time come in, [`Event`]s come out. `no_std` with `alloc`.
//!
//! # Promise
//! A message is acknowledged once whoever got it has accepted it, and not before. What was sent and not acknowledged when a
//! session ended is sent again by its sender: it may come twice, and never out of order. Bytes never change once a seal
//! speaks them: `tests.rs` holds them.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

pub mod frame;
pub mod message;
pub mod noise;
mod session;

#[cfg(test)]
mod tests;

use frame::{Kind, MAX_FRAME, Reader};
use noise::{Knocking, Pair, Secret};
use session::{Heard, Session};

/// How often the gateway knocks while there is no session, in ms.
pub const KNOCK_EVERY_MS: u64 = 1_000;
/// A seal works on one knock in so many ms: a stranger who knocks all the time must not keep it from its work.
pub const ANSWER_EVERY_MS: u64 = 500;
/// The gateway says something when it has heard nothing for so many ms.
pub const WORD_EVERY_MS: u64 = 2_000;
/// A session in which nothing was heard for so many ms is over: the other end was started again, or the wire is cut.
pub const SILENCE_MS: u64 = 7_000;
/// How long the other end may take to answer a frame, beside the time on the wire, in ms.
const PATIENCE_MS: u64 = 100;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It knocks.
    Gateway,
    /// It answers.
    Seal,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These bytes belong on the wire. What does not get there is as if it was lost there.
    Write(Vec<u8>),
    /// A session has begun with the right other end.
    Up,
    /// It is over. What was sent and not delivered has to be sent again in the next one.
    Down,
    /// The other end has sent this. It sends nothing more before [`Line::accept`].
    Message(Vec<u8>),
    /// What was sent last is accepted by the other end.
    Delivered,
}

/// What happened that should not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handshakes that were not by the other end, or not to what was asked.
    pub handshakes_refused: u64,
    /// Records that were not of the session, or played again.
    pub records_refused: u64,
    /// What was no frame at all.
    pub noise: u64,
}

/// Gives 32 bytes that nobody can guess, other ones each time; `None` when there are none.
pub type Chance = Box<dyn FnMut() -> Option<Secret> + Send>;

/// One end of a line.
pub struct Line {
    end: End,
    pair: Pair,
    chance: Chance,
    resend_ms: u64,
    most: usize,
    reader: Reader,
    knocking: Option<Knocking>,
    /// When one has knocked last, or answered a knock.
    knocked_ms: Option<u64>,
    session: Option<Session>,
    /// What was answered, and nothing was heard in it yet: a knock that is played again takes nobody's place.
    answered: Option<Session>,
    events: VecDeque<Event>,
    counts: Counts,
}

impl Line {
    /// An end of a line of so many baud on which nothing was heard yet.
    pub fn new(end: End, pair: Pair, baud: u32, chance: Chance) -> Self {
        // Ten bits a byte; a frame there, one back.
        let wire_ms = 2 * 10 * 1000 * MAX_FRAME as u64 / u64::from(baud.max(1));
        Self {
            end,
            pair,
            chance,
            resend_ms: wire_ms + PATIENCE_MS,
            most: if end == End::Gateway { message::MAX_UP } else { message::MAX_DOWN },
            reader: Reader::default(),
            knocking: None,
            knocked_ms: None,
            session: None,
            answered: None,
            events: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Whether there is a session.
    pub fn is_up(&self) -> bool {
        self.session.is_some()
    }

    /// Whether a message may be sent: there is a session, and the one before is delivered.
    pub fn is_free(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_free)
    }

    /// When something of the other end was heard last, in this session.
    pub fn heard_ms(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.heard_ms)
    }

    /// What happened that should not.
    pub fn counts(&self) -> Counts {
        Counts { noise: self.reader.noise(), ..self.counts }
    }

    /// Sends a message if one may be sent now; whether it is under way. It is delivered when [`Event::Delivered`] says so.
    pub fn send(&mut self, message: &[u8]) -> bool {
        match self.session.as_mut().filter(|session| session.is_free() && !message.is_empty()) {
            Some(session) => {
                session.send(message.to_vec());
                true
            }
            None => false,
        }
    }

    /// What was handed out last is kept, and may be forgotten by the other end.
    pub fn accept(&mut self) {
        if let Some(session) = &mut self.session {
            session.accept();
        }
    }

    /// Hears bytes, however they come. What follows is to be taken with [`Line::next`] before more is heard.
    pub fn hear(&mut self, bytes: &[u8], now_ms: u64) {
        for &byte in bytes {
            match (self.reader.push(byte), self.end) {
                (Some((Kind::Knock, body)), End::Seal) => self.answer(&body, now_ms),
                (Some((Kind::Answer, body)), End::Gateway) => self.begin(&body, now_ms),
                (Some((Kind::Record, body)), _) => self.listen(&body, now_ms),
                // One's own, thrown back by a wire that is cut.
                (Some(_), _) => self.refuse_handshake(),
                (None, _) => {}
            }
        }
    }

    /// What there is to do now; `None` when that was all, until something is heard or [`Line::wakes_ms`].
    pub fn next(&mut self, now_ms: u64) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let is_silent = |session: &Session| now_ms.saturating_sub(session.heard_ms) >= SILENCE_MS;
        if self.session.as_ref().is_some_and(is_silent) {
            self.session = None;
            return Some(Event::Down);
        }
        if self.answered.as_ref().is_some_and(is_silent) {
            self.answered = None;
        }
        let Some(session) = &mut self.session else { return self.knock(now_ms) };
        if self.end == End::Gateway
            && session.is_free()
            && now_ms.saturating_sub(session.heard_ms) >= WORD_EVERY_MS
        {
            session.send(Vec::new());
        }
        if session.speaks_ms(self.resend_ms).is_none_or(|at_ms| at_ms > now_ms) {
            return None;
        }
        match session.speak(self.resend_ms, now_ms) {
            Some(record) => Some(Event::Write(frame::write(Kind::Record, &record))),
            None => self.end_session(),
        }
    }

    /// When to come again if nothing is heard before.
    pub fn wakes_ms(&self, now_ms: u64) -> u64 {
        if !self.events.is_empty() {
            return now_ms;
        }
        let Some(session) = &self.session else {
            return match self.end {
                End::Gateway => {
                    self.knocked_ms.map_or(now_ms, |at_ms| at_ms.saturating_add(KNOCK_EVERY_MS)).max(now_ms)
                }
                // It waits for a knock.
                End::Seal => now_ms.saturating_add(SILENCE_MS),
            };
        };
        let has_word = self.end == End::Gateway && session.is_free();
        let usual_ms = session.heard_ms.saturating_add(if has_word { WORD_EVERY_MS } else { SILENCE_MS });
        session.speaks_ms(self.resend_ms).map_or(usual_ms, |at_ms| at_ms.min(usual_ms)).max(now_ms)
    }

    fn end_session(&mut self) -> Option<Event> {
        self.session.take().map(|_| Event::Down)
    }

    fn refuse_handshake(&mut self) {
        self.counts.handshakes_refused = self.counts.handshakes_refused.saturating_add(1);
    }

    fn is_due(&self, every_ms: u64, now_ms: u64) -> bool {
        self.knocked_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= every_ms)
    }

    fn knock(&mut self, now_ms: u64) -> Option<Event> {
        if self.end != End::Gateway || !self.is_due(KNOCK_EVERY_MS, now_ms) {
            return None;
        }
        self.knocked_ms = Some(now_ms);
        let fresh = (self.chance)()?;
        let (knocking, knock) = self.pair.knock(&fresh)?;
        self.knocking = Some(knocking);
        Some(Event::Write(frame::write(Kind::Knock, &knock)))
    }

    fn answer(&mut self, knock: &[u8], now_ms: u64) {
        if !self.is_due(ANSWER_EVERY_MS, now_ms) {
            return;
        }
        self.knocked_ms = Some(now_ms);
        let Some(fresh) = (self.chance)() else { return };
        let Some((ciphers, answer)) = self.pair.answer(knock, &fresh) else {
            return self.refuse_handshake();
        };
        self.answered = Some(Session::new(ciphers, now_ms));
        self.events.push_back(Event::Write(frame::write(Kind::Answer, &answer)));
    }

    fn begin(&mut self, answer: &[u8], now_ms: u64) {
        if !self.knocking.as_mut().is_some_and(|knocking| knocking.hears(answer)) {
            return self.refuse_handshake();
        }
        let ciphers = self.knocking.take().and_then(Knocking::ciphers);
        if let Some(ciphers) = ciphers {
            let mut session = Session::new(ciphers, now_ms);
            // The seal begins when it hears something: only who has knocked can say anything here.
            session.send(Vec::new());
            self.take_up(session);
        }
    }

    fn take_up(&mut self, session: Session) {
        let before = self.end_session();
        self.events.extend(before);
        self.session = Some(session);
        self.events.push_back(Event::Up);
    }

    fn listen(&mut self, record: &[u8], now_ms: u64) {
        let mut heard = Heard::Nothing;
        if let Some(session) = &mut self.session {
            heard = session.hear(record, self.most, now_ms);
        }
        if heard == Heard::Nothing
            && let Some(mut session) = self.answered.take()
        {
            heard = session.hear(record, self.most, now_ms);
            match heard {
                Heard::Nothing => self.answered = Some(session),
                _ => self.take_up(session),
            }
        }
        match heard {
            Heard::Nothing => self.counts.records_refused = self.counts.records_refused.saturating_add(1),
            Heard::Broken => {
                let over = self.end_session();
                self.events.extend(over);
            }
            Heard::Fine { delivered, message } => {
                self.events.extend(delivered.then_some(Event::Delivered));
                self.events.extend(message.map(Event::Message));
            }
        }
    }
}
