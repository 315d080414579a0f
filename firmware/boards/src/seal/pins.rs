//! A lock on pins.
//!
//! # Wiring
//! Everything that must be whole is a loop to ground which is broken by what must not be: the input has a pull-up, so a cut
//! wire reads like an alarm and there is no polarity to get wrong. The lock's own contact is such a loop too, made only when
//! the bolt is home. The press sensor should be one (broken by a stroke); some modules drive their pin, so its level can be
//! chosen, but with a sensor that is low when pressed a cut wire goes unseen.
//!
//! Any doubt is tampering, or a lock that is not closed; never "fine".

use drivers::contact::Contact;
use embedded_hal::digital::{InputPin, OutputPin, PinState};

use super::{Feeling, Hands, HandsError, Part};
use crate::gpio::{Edge, Pins};

/// A pin and the level that means what it is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinSpec {
    /// BCM number.
    pub pin: u8,
    /// Whether that level is low.
    pub active_low: bool,
}

/// Which pin does what, by BCM number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// Output. Active: the lock is held open. A spring closes it.
    pub lock: PinSpec,
    /// Input. Active: the seal is being pressed.
    pub press: PinSpec,
    /// Input, low while the bolt is home.
    pub closed: u8,
    /// Input, low while the cover is on.
    pub cover: Option<u8>,
    /// Input, low while the wire around what matters is whole.
    pub tamper: Option<u8>,
    /// Input, low while the seal sits in its holder.
    pub seat: Option<u8>,
}

impl Wiring {
    /// Every input.
    pub fn inputs(&self) -> Vec<u8> {
        let loops = [Some(self.closed), self.cover, self.tamper, self.seat];
        loops.into_iter().flatten().chain([self.press.pin]).collect()
    }

    /// A pin that does two things, if there is one.
    pub fn twice(&self) -> Option<u8> {
        let mut pins = self.inputs();
        pins.push(self.lock.pin);
        pins.sort_unstable();
        pins.windows(2)
            .find_map(|pair| if let [one, other] = pair { (one == other).then_some(*one) } else { None })
    }
}

/// How long things take, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long the press sensor must keep a level. Switches bounce for some ms, and a stroke of a
    /// hand takes many times that.
    pub press_stable_ms: u32,
    /// How long a loop must keep a level: longer than the spike of a motor or a radio beside it.
    pub loop_stable_ms: u32,
    /// Longest that the lock is held open. Small solenoids burn when they are held: look up the duty cycle of yours.
    pub longest_open_ms: u64,
    /// How long the lock may take to move, either way. A hand that still presses may hold the bolt.
    pub longest_move_ms: u64,
    /// Longest stroke of a hand.
    pub longest_stroke_ms: u64,
}

impl Times {
    /// For switches and a small solenoid.
    pub const USUAL: Self = Self {
        press_stable_ms: 10,
        loop_stable_ms: 20,
        longest_open_ms: 30_000,
        longest_move_ms: 3_000,
        longest_stroke_ms: 10_000,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Closed,
    /// Held open.
    Open {
        since_ms: u64,
    },
    /// Held no more, but nobody has called for that.
    LetGo,
    /// It has to be home by then. `is_asked`: somebody called [`Hands::close`]; else it is the start.
    Closing {
        until_ms: u64,
        is_asked: bool,
    },
    /// It is not home, and that was told.
    Astray,
}

struct Loop {
    pin: u8,
    part: Part,
    /// Of the loop: closed when the pin is low.
    contact: Contact,
}

/// The hands of a seal on the pins of a board.
pub struct PinHands<P, L: OutputPin> {
    pins: P,
    output: L,
    wiring: Wiring,
    times: Times,
    lock: Lock,
    /// Whether the output is to be set to "not held" again, since the last time failed.
    holds_on: bool,
    press: Contact,
    /// When the stroke began that has not ended, and whether it was told that it takes too long.
    stroke: Option<(u64, bool)>,
    closed: Contact,
    loops: Vec<Loop>,
    is_blind: bool,
    edges: Vec<Edge>,
}

impl<P: Pins, L: OutputPin + Send> PinHands<P, L> {
    /// Hands on `pins`, which have the inputs of `wiring`, with the lock on `output`. What it does first is not to hold
    /// the lock, whatever a process before this one left.
    pub fn new(pins: P, output: L, wiring: Wiring, times: Times, now_ms: u64) -> Self {
        let watched = [(wiring.cover, Part::Cover), (wiring.tamper, Part::Loop), (wiring.seat, Part::Seat)];
        let whole = |(pin, part): (Option<u8>, Part)| {
            Some(Loop { pin: pin?, part, contact: Contact::new(times.loop_stable_ms) })
        };
        let mut hands = Self {
            pins,
            output,
            times,
            lock: Lock::Closing { until_ms: now_ms + times.longest_move_ms, is_asked: false },
            holds_on: false,
            press: Contact::new(times.press_stable_ms),
            stroke: None,
            closed: Contact::new(times.loop_stable_ms),
            loops: watched.into_iter().filter_map(whole).collect(),
            is_blind: false,
            edges: Vec::new(),
            wiring,
        };
        hands.release();
        hands
    }

    fn release(&mut self) {
        let level = PinState::from(self.wiring.lock.active_low);
        self.holds_on = self.output.set_state(level).is_err();
    }

    /// Takes a level of a pin.
    fn take(&mut self, edge: Edge, into: &mut Vec<Feeling>) {
        if edge.pin == self.wiring.press.pin {
            match self.press.level(edge.at_ms, edge.high != self.wiring.press.active_low) {
                Some(true) => {
                    self.stroke = Some((edge.at_ms, false));
                    into.push(Feeling::Pressed);
                }
                Some(false) => self.stroke = None,
                None => {}
            }
        } else if edge.pin == self.wiring.closed {
            if self.closed.level(edge.at_ms, !edge.high) == Some(false) && self.lock == Lock::Closed {
                self.lock = Lock::Astray;
                into.push(Feeling::Tampered(Part::Lock));
            }
        } else if let Some(watched) = self.loops.iter_mut().find(|watched| watched.pin == edge.pin)
            && watched.contact.level(edge.at_ms, !edge.high) == Some(false)
        {
            into.push(Feeling::Tampered(watched.part));
        }
    }

    /// Reads everything. What has happened in between comes first, with its own time.
    fn look(&mut self, now_ms: u64, into: &mut Vec<Feeling>) -> Result<(), String> {
        let mut edges = std::mem::take(&mut self.edges);
        edges.clear();
        let read = self.pins.edges(now_ms, &mut edges);
        for edge in &edges {
            self.take(Edge { at_ms: edge.at_ms.min(now_ms), ..*edge }, into);
        }
        self.edges = edges;
        read?;
        for pin in self.wiring.inputs() {
            let high = self.pins.is_high(pin)?;
            self.take(Edge { pin, at_ms: now_ms, high }, into);
        }
        Ok(())
    }

    /// What follows from the time.
    fn watch(&mut self, now_ms: u64, into: &mut Vec<Feeling>) {
        let is_home = !self.is_blind && !self.holds_on && self.closed.state() == Some(true);
        match self.lock {
            Lock::Closing { .. } | Lock::Astray if is_home => {
                self.lock = Lock::Closed;
                into.push(Feeling::Closed);
            }
            Lock::Closing { until_ms, is_asked } if now_ms >= until_ms => {
                self.lock = Lock::Astray;
                into.push(if is_asked { Feeling::NotClosed } else { Feeling::Tampered(Part::Lock) });
            }
            // A contact that says "closed" now would say so of every closing.
            Lock::Open { since_ms } if is_home && now_ms >= since_ms + self.times.longest_move_ms => {
                self.let_go();
                into.push(Feeling::Tampered(Part::Lock));
            }
            Lock::Open { since_ms } if now_ms >= since_ms + self.times.longest_open_ms => {
                self.let_go();
                into.push(Feeling::LetGo);
            }
            _ => {}
        }
        if let Some((since_ms, is_told @ false)) = &mut self.stroke
            && now_ms >= *since_ms + self.times.longest_stroke_ms
        {
            *is_told = true;
            into.push(Feeling::Tampered(Part::Press));
        }
    }

    fn let_go(&mut self) {
        self.lock = Lock::LetGo;
        self.release();
    }
}

impl<P: Pins, L: OutputPin + Send> Hands for PinHands<P, L> {
    fn ready(&self) -> Result<(), HandsError> {
        if self.is_blind {
            return Err(HandsError::NotWhole(Part::Pins));
        }
        if let Some(open) = self.loops.iter().find(|watched| watched.contact.state() != Some(true)) {
            return Err(HandsError::NotWhole(open.part));
        }
        if self.press.state() != Some(false) {
            return Err(HandsError::NotWhole(Part::Press));
        }
        if self.lock == Lock::Closed { Ok(()) } else { Err(HandsError::NotClosed) }
    }

    fn open(&mut self, now_ms: u64) -> Result<(), HandsError> {
        self.ready()?;
        let level = PinState::from(!self.wiring.lock.active_low);
        self.lock = Lock::Open { since_ms: now_ms };
        self.output.set_state(level).map_err(|error| {
            self.let_go();
            HandsError::Lock(format!("{error:?}"))
        })
    }

    fn close(&mut self, now_ms: u64) {
        // The bolt may not even have moved yet: what its contact said before does not count.
        self.closed = Contact::new(self.times.loop_stable_ms);
        self.lock = Lock::Closing { until_ms: now_ms + self.times.longest_move_ms, is_asked: true };
        self.release();
    }

    fn feel(&mut self, now_ms: u64, into: &mut Vec<Feeling>) {
        if self.holds_on {
            self.release();
        }
        match self.look(now_ms, into) {
            Ok(()) => self.is_blind = false,
            Err(why) if !self.is_blind => {
                tracing::error!(%why, "the pins of the seal cannot be read");
                self.is_blind = true;
                into.push(Feeling::Tampered(Part::Pins));
            }
            Err(_) => {}
        }
        self.watch(now_ms, into);
    }
}

impl<P, L: OutputPin> Drop for PinHands<P, L> {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure.
        let _ = self.output.set_state(PinState::from(self.wiring.lock.active_low));
    }
}

/// Inputs of any embedded-hal as [`Pins`]: a change is an edge at the time at which it was seen.
pub struct Polled<I> {
    pins: Vec<(u8, I, Option<bool>)>,
}

impl<I: InputPin> Polled<I> {
    /// These inputs, each with its number.
    pub fn new(pins: impl IntoIterator<Item = (u8, I)>) -> Self {
        Self { pins: pins.into_iter().map(|(number, pin)| (number, pin, None)).collect() }
    }
}

impl<I: InputPin + Send> Pins for Polled<I> {
    fn is_high(&mut self, pin: u8) -> Result<bool, String> {
        let found = self.pins.iter_mut().find(|(number, ..)| *number == pin);
        let (_, input, _) = found.ok_or_else(|| format!("pin {pin} is not open"))?;
        input.is_high().map_err(|error| format!("pin {pin}: {error:?}"))
    }

    fn edges(&mut self, now_ms: u64, into: &mut Vec<Edge>) -> Result<(), String> {
        for (pin, input, last) in &mut self.pins {
            let high = input.is_high().map_err(|error| format!("pin {pin}: {error:?}"))?;
            if last.replace(high).is_some_and(|last| last != high) {
                into.push(Edge { pin: *pin, at_ms: now_ms, high });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "pins_tests.rs"]
mod tests;
