//! What to send next, when to give up on a connection, what may be forgotten. Pure: no clock, no socket, no disk.
//!
//! # How to drive it
//! - Tell it what happened: [`Ship::heads`] (the buffer grew or shrank), [`Ship::connected`], [`Ship::disconnected`],
//!   [`Ship::answered`] (a frame was acknowledged, refused, or gone), [`Ship::receipt`].
//! - After telling it anything, and at [`Ship::next_timeout`], call [`Ship::timeout`]; then take
//!   [`Ship::next_action`] until it has none and carry each out; then take [`Ship::next_send`] until it has none,
//!   read each frame from the buffer and publish it.
//! - Calling any of them without need does no harm. Times are milliseconds since the start and never go back.
//!
//! # What it promises
//! - The buffer is the only source of retransmission: on every new connection each lane starts again at its oldest
//!   unacknowledged frame.
//! - A lane is forgotten up to its oldest unacknowledged frame only, so what lies in the buffer is contiguous.
//! - Lanes go in the order of [`Lane::ALL`], and readings never use the last slots of the flight window: a fresh
//!   alarm goes out with the next write, whatever the backlog. While more alarms wait than may fly at once, nothing
//!   else is sent at all; a lane that ingest refuses for now holds nobody up, and a frame whose receipt is missing
//!   holds up nothing fresh.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wire::{Lane, Receipt, Verdict};

use crate::buffer::{Heads, SPAN};

/// Frames of one lane that may be unacknowledged: by number of the lane. Readings are large and many; sixteen of
/// them keep a link of 100 ms and 2 MB/s busy. Acknowledgements come in the order of the frames, so those of alarms
/// stand behind those of readings: so many alarms do not wait for them.
const WINDOW: [usize; 5] = [32, 8, 16, 4, 4];
/// Slots of the flight window that only alarms and seal receipts may use.
const RESERVED: usize = 8;
/// Frames in flight on a fresh connection, alarms and seal receipts apart; each acknowledgement allows one more. A
/// server that comes back is not met by everybody's whole window at once, and a line that breaks under load still
/// gets some frames through. When acknowledgements become slow it closes again: see [`QUEUE_MS`].
const FIRST_WINDOW: usize = 4;
/// How much longer than the quickest an acknowledgement may take before fewer frames fly, in ms. What is in flight on
/// a narrow line stands before a fresh alarm in the same queue, so that queue is kept short (the idea of LEDBAT,
/// RFC 6817): on 256 kbit/s one frame of 25 KiB takes 0.8 s, and sixteen would be 13 s.
const QUEUE_MS: u64 = 400;
/// First pause before connecting again, and the longest, in ms. Half of each pause is random, so that a district
/// that lost power together does not come back together.
const CONNECT_BACKOFF_MS: (u64, u64) = (500, 30_000);
/// First pause of a lane after a temporary refusal, and the longest, in ms.
const LATER_BACKOFF_MS: (u64, u64) = (250, 30_000);
/// Pause before a frame is sent again whose receipt does not come although the broker has it, in ms, and the longest.
const RECEIPT_BACKOFF_MS: (u64, u64) = (5_000, 300_000);
/// A connection that takes longer than this to stand is given up, in ms.
const CONNECT_LIMIT_MS: u64 = 20_000;

/// Settings of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long the oldest unacknowledged frame may wait before the connection is thought dead, in ms.
    pub patience_ms: u64,
    /// Forget only on ingest's receipt: an acknowledgement says that the broker has it, no more.
    pub receipts: bool,
}

/// What became of a frame that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged: on stable storage, unless receipts are asked for.
    Durable,
    /// Refused for good, with the reason byte: sending it again is useless.
    Refused(u8),
    /// Refused for now, with the reason byte.
    Later(u8),
    /// It is no longer in the buffer.
    Gone,
}

/// A frame to send. The token comes back with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send {
    /// Names this sending of this frame.
    pub token: u64,
    /// Its lane.
    pub lane: Lane,
    /// Its number.
    pub sequence: u64,
}

/// Something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Build a new client and connect.
    Connect,
    /// Throw the client away.
    Drop(Why),
    /// Tell the buffer that everything before `below` may go.
    Forget {
        /// The store the number counts in.
        store: u64,
        /// The lane.
        lane: Lane,
        /// First number to keep.
        below: u64,
    },
    /// Tell the buffer to set a frame aside.
    SetAside {
        /// The store the number counts in.
        store: u64,
        /// The lane.
        lane: Lane,
        /// The number.
        sequence: u64,
        /// Why, as MQTT 5 reason code; 0 when a receipt said so.
        reason: u8,
    },
}

/// Why a client is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The oldest frame waited too long for its acknowledgement.
    Unacknowledged,
    /// The connection did not come to stand.
    ConnectTooLong,
}

/// Figures for health and status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether a connection stands.
    pub online: bool,
    /// Connections since the start.
    pub connects: u64,
    /// Frames acknowledged as durable since the start.
    pub durable: u64,
    /// Frames refused for good since the start.
    pub refused: u64,
    /// Frames sent, repeats included, since the start.
    pub sent: u64,
    /// Frames in flight.
    pub in_flight: u64,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    /// No connection before this time.
    Offline {
        until_ms: u64,
    },
    Connecting {
        since_ms: u64,
    },
    Online {
        /// What the broker takes.
        budget: usize,
        /// How far the flight window is open, up to `budget`.
        opening: usize,
        /// The quickest acknowledgement of this connection, in ms.
        quickest_ms: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    token: u64,
    sent_ms: u64,
    /// The broker acknowledged it; the receipt is still to come.
    at_broker: bool,
}

#[derive(Debug, Default)]
struct LaneState {
    floor: u64,
    next: u64,
    /// Next number that was not sent over this connection.
    cursor: u64,
    /// Numbers to send again over this connection.
    again: BTreeSet<u64>,
    /// Settled numbers above the floor.
    settled: BTreeSet<u64>,
    flights: BTreeMap<u64, Flight>,
    /// Nothing is sent before this time; 0 when nothing stands in the way.
    paused_ms: u64,
    /// Nothing is sent again before this time; 0 likewise. What is fresh need not wait for it.
    again_ms: u64,
    refusals: u32,
    /// Since when the frame at the floor is the oldest.
    floor_since_ms: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Ship {
    limits: Limits,
    random: fastrand::Rng,
    line: Line,
    failures: u32,
    store: u64,
    lanes: [LaneState; 5],
    tokens: HashMap<u64, (Lane, u64)>,
    next_token: u64,
    actions: std::collections::VecDeque<Action>,
    figures: Figures,
}

impl Ship {
    /// A machine without a connection, which asks for one at once. `seed` chooses its jitter.
    pub fn new(limits: Limits, seed: u64, now_ms: u64) -> Self {
        Self {
            limits,
            random: fastrand::Rng::with_seed(seed),
            line: Line::Offline { until_ms: now_ms },
            failures: 0,
            store: 0,
            lanes: Default::default(),
            tokens: HashMap::new(),
            next_token: 0,
            actions: std::collections::VecDeque::new(),
            figures: Figures::default(),
        }
    }

    /// The buffer says what waits in it.
    pub fn heads(&mut self, now_ms: u64, heads: &Heads) {
        if heads.store != self.store {
            self.store = heads.store;
            self.tokens.clear();
            for (lane, head) in self.lanes.iter_mut().zip(heads.lanes) {
                *lane = LaneState {
                    floor: head.floor,
                    cursor: head.floor,
                    floor_since_ms: now_ms,
                    ..LaneState::default()
                };
            }
        }
        for (lane, head) in self.lanes.iter_mut().zip(heads.lanes) {
            if lane.floor == lane.next {
                lane.floor_since_ms = now_ms;
            }
            lane.next = lane.next.max(head.next);
            if head.floor > lane.floor {
                // The quota made room: what was dropped is explained by the buffer.
                lane.floor = head.floor;
                lane.floor_since_ms = now_ms;
                lane.advance(now_ms, &mut self.tokens);
            }
        }
    }

    /// A connection stands; the broker takes `receive_maximum` unacknowledged frames at once.
    pub fn connected(&mut self, _now_ms: u64, receive_maximum: u16) {
        self.figures.connects += 1;
        self.rewind();
        self.line = Line::Online {
            budget: usize::from(receive_maximum.max(1)),
            opening: FIRST_WINDOW,
            quickest_ms: u64::MAX,
        };
    }

    /// The connection is gone, or did not come to stand.
    pub fn disconnected(&mut self, now_ms: u64) {
        if matches!(self.line, Line::Offline { .. }) {
            return;
        }
        self.rewind();
        let pause = backoff(&mut self.random, CONNECT_BACKOFF_MS, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.line = Line::Offline { until_ms: now_ms.saturating_add(pause) };
    }

    fn rewind(&mut self) {
        self.tokens.clear();
        for lane in &mut self.lanes {
            lane.flights.clear();
            lane.again.clear();
            lane.cursor = lane.floor;
            (lane.paused_ms, lane.again_ms) = (0, 0);
        }
    }

    /// What became of a frame. Answers to an earlier connection or store are ignored.
    pub fn answered(&mut self, now_ms: u64, token: u64, answer: Answer) {
        let Some(&(lane, sequence)) = self.tokens.get(&token) else { return };
        match answer {
            Answer::Durable if self.limits.receipts => {
                if let Some(flight) = self.lanes[lane as usize].flights.get_mut(&sequence) {
                    flight.at_broker = true;
                }
            }
            Answer::Durable => self.settle(now_ms, lane, sequence, None),
            Answer::Refused(reason) => self.settle(now_ms, lane, sequence, Some(reason)),
            Answer::Gone => {
                self.lanes[lane as usize].settle(sequence, &mut self.tokens);
                self.forget(now_ms, lane);
            }
            Answer::Later(_) => {
                let state = &mut self.lanes[lane as usize];
                let pause = &mut state.paused_ms;
                prolong(pause, &mut state.refusals, &mut self.random, LATER_BACKOFF_MS, now_ms);
                self.send_again(lane, sequence);
            }
        }
    }

    /// Ingest's own word about frames, over a broker that is not ours.
    pub fn receipt(&mut self, now_ms: u64, receipt: &Receipt) {
        if receipt.store != self.store {
            return;
        }
        for &sequence in &receipt.sequences {
            let lane = &self.lanes[receipt.lane as usize];
            if (lane.floor..lane.next).contains(&sequence)
                && sequence < lane.floor + SPAN
                && !lane.settled.contains(&sequence)
            {
                let refused = match receipt.verdict {
                    Verdict::Durable => None,
                    Verdict::Refused => Some(0),
                };
                self.settle(now_ms, receipt.lane, sequence, refused);
            }
        }
    }

    fn settle(&mut self, now_ms: u64, lane: Lane, sequence: u64, refused: Option<u8>) {
        // Ingest answers: the way is open.
        self.failures = 0;
        if let Line::Online { opening, quickest_ms, budget } = &mut self.line
            && let Some(flight) = self.lanes[lane as usize].flights.get(&sequence)
        {
            let took_ms = now_ms.saturating_sub(flight.sent_ms);
            *quickest_ms = took_ms.min(*quickest_ms);
            *opening = if took_ms > quickest_ms.saturating_add(QUEUE_MS) {
                opening.saturating_sub(1).max(1)
            } else {
                opening.saturating_add(1).min(*budget)
            };
        }
        match refused {
            None => self.figures.durable += 1,
            Some(reason) => {
                self.figures.refused += 1;
                self.actions.push_back(Action::SetAside { store: self.store, lane, sequence, reason });
            }
        }
        self.lanes[lane as usize].refusals = 0;
        self.lanes[lane as usize].settle(sequence, &mut self.tokens);
        self.forget(now_ms, lane);
    }

    fn forget(&mut self, now_ms: u64, lane: Lane) {
        let state = &mut self.lanes[lane as usize];
        if state.advance(now_ms, &mut self.tokens) {
            self.actions.push_back(Action::Forget { store: self.store, lane, below: state.floor });
        }
    }

    fn send_again(&mut self, lane: Lane, sequence: u64) {
        let state = &mut self.lanes[lane as usize];
        if let Some(flight) = state.flights.remove(&sequence) {
            self.tokens.remove(&flight.token);
        }
        state.again.insert(sequence);
    }

    /// Does what time asks for; follow with [`Ship::next_action`] and [`Ship::next_send`].
    pub fn timeout(&mut self, now_ms: u64) {
        for pause in self.lanes.iter_mut().flat_map(|lane| [&mut lane.paused_ms, &mut lane.again_ms]) {
            if *pause <= now_ms {
                *pause = 0;
            }
        }
        match self.line {
            Line::Offline { until_ms } if until_ms <= now_ms => {
                self.line = Line::Connecting { since_ms: now_ms };
                self.actions.push_back(Action::Connect);
            }
            Line::Connecting { since_ms } if now_ms >= since_ms.saturating_add(CONNECT_LIMIT_MS) => {
                self.actions.push_back(Action::Drop(Why::ConnectTooLong));
                self.disconnected(now_ms);
            }
            Line::Online { .. } => self.look_for_overdue(now_ms),
            Line::Offline { .. } | Line::Connecting { .. } => {}
        }
    }

    fn look_for_overdue(&mut self, now_ms: u64) {
        let patience_ms = self.limits.patience_ms;
        let mut without_receipt = Vec::new();
        for lane in Lane::ALL {
            for (&sequence, flight) in &self.lanes[lane as usize].flights {
                if now_ms < flight.sent_ms.saturating_add(patience_ms) {
                    continue;
                }
                if flight.at_broker {
                    without_receipt.push((lane, sequence));
                    continue;
                }
                self.actions.push_back(Action::Drop(Why::Unacknowledged));
                self.disconnected(now_ms);
                return;
            }
        }
        // The broker has them and lives; ingest does not answer. A new connection would change nothing.
        for (lane, sequence) in without_receipt {
            let state = &mut self.lanes[lane as usize];
            let pause = &mut state.again_ms;
            prolong(pause, &mut state.refusals, &mut self.random, RECEIPT_BACKOFF_MS, now_ms);
            self.send_again(lane, sequence);
        }
    }

    /// When [`Ship::timeout`] wants to be called, in ms since the start.
    pub fn next_timeout(&self) -> Option<u64> {
        match self.line {
            Line::Offline { until_ms } => Some(until_ms),
            Line::Connecting { since_ms } => Some(since_ms.saturating_add(CONNECT_LIMIT_MS)),
            Line::Online { .. } => {
                let overdue = self.lanes.iter().flat_map(|lane| lane.flights.values());
                let overdue = overdue.map(|flight| flight.sent_ms.saturating_add(self.limits.patience_ms));
                let pauses = self.lanes.iter().flat_map(LaneState::pauses);
                overdue.chain(pauses).min()
            }
        }
    }

    /// The next thing to do, if there is one.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next frame to send, if one may be sent; it then counts as in flight.
    pub fn next_send(&mut self, now_ms: u64) -> Option<Send> {
        let Line::Online { budget, opening, .. } = self.line else { return None };
        if self.unacknowledged() >= budget {
            return None;
        }
        let open = opening.min(budget - RESERVED.min(budget / 2));
        let others = self.tokens.values().filter(|(lane, _)| !is_urgent(*lane)).count();
        for lane in Lane::ALL {
            let state = &mut self.lanes[lane as usize];
            if state.paused_ms > now_ms || (!is_urgent(lane) && others >= open) {
                continue;
            }
            if state.flights.len() >= WINDOW[lane as usize] {
                if is_urgent(lane) && state.candidate().is_some() {
                    // More alarms wait than may fly at once: nothing else takes the line from them.
                    return None;
                }
                continue;
            }
            let Some(sequence) = state.candidate() else { continue };
            if !state.again.remove(&sequence) {
                state.cursor = sequence + 1;
            }
            self.next_token += 1;
            let token = self.next_token;
            state.flights.insert(sequence, Flight { token, sent_ms: now_ms, at_broker: false });
            self.tokens.insert(token, (lane, sequence));
            self.figures.sent += 1;
            return Some(Send { token, lane, sequence });
        }
        None
    }

    /// Age in ms of the oldest unacknowledged frame: since it became the oldest of its lane.
    pub fn oldest_unacked_ms(&self, now_ms: u64) -> u64 {
        let waiting = self.lanes.iter().filter(|lane| lane.floor < lane.next);
        waiting.map(|lane| now_ms.saturating_sub(lane.floor_since_ms)).max().unwrap_or(0)
    }

    /// Figures for health and status.
    pub fn figures(&self) -> Figures {
        Figures {
            online: matches!(self.line, Line::Online { .. }),
            in_flight: self.unacknowledged() as u64,
            ..self.figures
        }
    }

    /// Frames that the broker has not acknowledged. Those that only wait for ingest's receipt take none of its slots.
    fn unacknowledged(&self) -> usize {
        self.lanes.iter().flat_map(|lane| lane.flights.values()).filter(|flight| !flight.at_broker).count()
    }
}

impl LaneState {
    /// The number to send next: what must go again first, it is older, unless that has to wait.
    fn candidate(&self) -> Option<u64> {
        let limit = self.next.min(self.floor.saturating_add(SPAN));
        let fresh = (self.cursor.max(self.floor)..limit).find(|sequence| !self.settled.contains(sequence));
        let again = self.again.first().copied().filter(|_| self.again_ms == 0);
        again.into_iter().chain(fresh).min()
    }

    /// When a pause ends that holds something up.
    fn pauses(&self) -> impl Iterator<Item = u64> {
        let lane = (self.paused_ms > 0 && self.candidate().is_some()).then_some(self.paused_ms);
        let again = (self.again_ms > 0 && !self.again.is_empty()).then_some(self.again_ms);
        lane.into_iter().chain(again)
    }

    fn settle(&mut self, sequence: u64, tokens: &mut HashMap<u64, (Lane, u64)>) {
        if let Some(flight) = self.flights.remove(&sequence) {
            tokens.remove(&flight.token);
        }
        self.again.remove(&sequence);
        self.settled.insert(sequence);
    }

    /// Moves the floor over everything settled; whether it moved. Drops what lies below.
    fn advance(&mut self, now_ms: u64, tokens: &mut HashMap<u64, (Lane, u64)>) -> bool {
        let before = self.floor;
        while self.settled.remove(&self.floor) {
            self.floor += 1;
        }
        self.settled = self.settled.split_off(&self.floor);
        self.again = self.again.split_off(&self.floor);
        let kept = self.flights.split_off(&self.floor);
        for flight in std::mem::replace(&mut self.flights, kept).into_values() {
            tokens.remove(&flight.token);
        }
        self.cursor = self.cursor.max(self.floor);
        if self.floor != before {
            self.floor_since_ms = now_ms;
        }
        self.floor != before
    }
}

/// Whether a lane may use every slot of the flight window at any time.
fn is_urgent(lane: Lane) -> bool {
    matches!(lane, Lane::Alarm | Lane::Seal)
}

/// Begins a pause, unless one is under way: the answers to one window are one refusal, however many frames flew in it.
fn prolong(
    pause_ms: &mut u64,
    refusals: &mut u32,
    random: &mut fastrand::Rng,
    range: (u64, u64),
    now_ms: u64,
) {
    if *pause_ms <= now_ms {
        *pause_ms = now_ms.saturating_add(backoff(random, range, *refusals));
        *refusals = refusals.saturating_add(1);
    }
}

/// A pause that doubles with each failure, half of it random.
fn backoff(random: &mut fastrand::Rng, (first, longest): (u64, u64), failures: u32) -> u64 {
    let whole = first.saturating_mul(1 << failures.min(20)).min(longest);
    whole / 2 + random.u64(0..=whole / 2)
}

#[cfg(test)]
#[path = "ship_tests.rs"]
mod tests;
