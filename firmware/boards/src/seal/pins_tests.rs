use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use embedded_hal::digital::{Error, ErrorKind, ErrorType};

use super::Feeling::{Closed, LetGo, NotClosed, Pressed, Tampered};
use super::*;

const PRESS: u8 = 5;
const HOME: u8 = 6;
const COVER: u8 = 7;
const LOCK: u8 = 8;

/// What the pins of a seal see: levels, by number. Everything rests, so everything is low.
#[derive(Default)]
struct Levels {
    high: [bool; 9],
    /// The bolt does what the lock's pin says.
    is_stuck: bool,
    is_dead: bool,
    is_lock_dead: bool,
}

#[derive(Clone, Default)]
struct Bench(Arc<Mutex<Levels>>);

impl Bench {
    fn get(&self) -> MutexGuard<'_, Levels> {
        self.0.lock().unwrap()
    }

    fn set(&self, pin: u8, high: bool) {
        self.get().high[usize::from(pin)] = high;
    }

    fn is_held(&self) -> bool {
        self.get().high[usize::from(LOCK)]
    }
}

#[derive(Debug)]
struct Dead;

impl Error for Dead {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

struct Input(Bench, u8);

impl ErrorType for Input {
    type Error = Dead;
}

impl InputPin for Input {
    fn is_high(&mut self) -> Result<bool, Dead> {
        let levels = self.0.get();
        if levels.is_dead { Err(Dead) } else { Ok(levels.high[usize::from(self.1)]) }
    }
    fn is_low(&mut self) -> Result<bool, Dead> {
        self.is_high().map(|high| !high)
    }
}

struct Output(Bench);

impl ErrorType for Output {
    type Error = Dead;
}

impl Output {
    fn hold(&self, held: bool) -> Result<(), Dead> {
        let mut levels = self.0.get();
        if levels.is_lock_dead {
            return Err(Dead);
        }
        levels.high[usize::from(LOCK)] = held;
        if !levels.is_stuck {
            levels.high[usize::from(HOME)] = held;
        }
        Ok(())
    }
}

impl OutputPin for Output {
    fn set_low(&mut self) -> Result<(), Dead> {
        self.hold(false)
    }
    fn set_high(&mut self) -> Result<(), Dead> {
        self.hold(true)
    }
}

/// A seal on the bench, felt every 5 ms.
struct Seal {
    bench: Bench,
    hands: PinHands<Polled<Input>, Output>,
    now_ms: u64,
}

fn wiring() -> Wiring {
    Wiring {
        lock: PinSpec { pin: LOCK, active_low: false },
        press: PinSpec { pin: PRESS, active_low: false },
        closed: HOME,
        cover: Some(COVER),
        tamper: None,
        seat: None,
    }
}

impl Seal {
    fn start(bench: &Bench) -> Self {
        let inputs = wiring().inputs().into_iter().map(|pin| (pin, Input(bench.clone(), pin)));
        let hands = PinHands::new(Polled::new(inputs), Output(bench.clone()), wiring(), Times::USUAL, 0);
        Self { bench: bench.clone(), hands, now_ms: 0 }
    }

    fn closed() -> Self {
        let mut seal = Self::start(&Bench::default());
        assert_eq!(seal.feel(100), [Closed]);
        seal
    }

    fn opened() -> Self {
        let mut seal = Self::closed();
        seal.hands.open(seal.now_ms).unwrap();
        assert_eq!(seal.feel(100), []);
        seal
    }

    /// What is felt within so many ms.
    fn feel(&mut self, for_ms: u64) -> Vec<Feeling> {
        let (until, mut felt) = (self.now_ms + for_ms, Vec::new());
        while self.now_ms < until {
            self.now_ms += 5;
            self.hands.feel(self.now_ms, &mut felt);
        }
        felt
    }

    fn close(&mut self) {
        self.hands.close(self.now_ms);
    }

    /// A stroke as a switch gives it: it bounces at both ends.
    fn stroke(&mut self) -> Vec<Feeling> {
        let mut felt = Vec::new();
        for (high, for_ms) in [(true, 5), (false, 5), (true, 40), (false, 5), (true, 5), (false, 40)] {
            self.bench.set(PRESS, high);
            felt.extend(self.feel(for_ms));
        }
        felt
    }
}

#[test]
fn one_stroke_is_one_however_it_bounces_and_two_are_two() {
    let mut seal = Seal::opened();
    assert_eq!(seal.stroke(), [Pressed]);
    assert_eq!(seal.stroke(), [Pressed]);
    seal.close();
    assert_eq!(seal.feel(100), [Closed]);
    assert!(!seal.bench.is_held());
}

#[test]
fn closed_is_what_the_contact_says_and_not_what_it_said() {
    let mut seal = Seal::closed();
    // The bolt has not moved yet when it is called back.
    seal.bench.get().is_stuck = true;
    seal.hands.open(seal.now_ms).unwrap();
    seal.close();
    assert_eq!(seal.feel(10), []);
    seal.bench.set(HOME, true);
    assert_eq!(seal.feel(500), [], "it is out");
    seal.bench.set(HOME, false);
    assert_eq!(seal.feel(100), [Closed]);
}

#[test]
fn a_lock_that_does_not_close_is_told_once_and_opens_no_more() {
    let mut seal = Seal::opened();
    seal.bench.get().is_stuck = true;
    seal.close();
    assert_eq!(seal.feel(10_000), [NotClosed]);
    assert_eq!(seal.hands.open(seal.now_ms), Err(HandsError::NotClosed));
    seal.bench.set(HOME, false);
    assert_eq!(seal.feel(100), [Closed]);
}

#[test]
fn a_lock_is_held_open_no_longer_than_it_may() {
    let mut seal = Seal::opened();
    assert_eq!(seal.feel(Times::USUAL.longest_open_ms), [LetGo]);
    assert!(!seal.bench.is_held());
    assert_eq!(seal.hands.open(seal.now_ms), Err(HandsError::NotClosed), "close it first");
    seal.close();
    assert_eq!(seal.feel(100), [Closed]);
    assert_eq!(seal.hands.open(seal.now_ms), Ok(()));
}

#[test]
fn a_contact_that_says_closed_while_it_is_held_open_is_tampered_with() {
    let mut seal = Seal::closed();
    seal.bench.get().is_stuck = true;
    seal.hands.open(seal.now_ms).unwrap();
    assert_eq!(seal.feel(10_000), [Tampered(Part::Lock)]);
    assert!(!seal.bench.is_held());
}

#[test]
fn a_lock_that_moves_by_itself_is_tampered_with() {
    let mut seal = Seal::closed();
    seal.bench.set(HOME, true);
    assert_eq!(seal.feel(100), [Tampered(Part::Lock)]);
    assert_eq!(seal.hands.ready(), Err(HandsError::NotClosed));
    seal.bench.set(HOME, false);
    assert_eq!(seal.feel(100), [Closed]);
}

#[test]
fn at_a_start_it_lets_go_first_and_nothing_that_is_open_is_missed() {
    let bench = Bench::default();
    bench.set(LOCK, true);
    bench.set(HOME, true);
    let mut seal = Seal::start(&bench);
    assert!(!bench.is_held(), "before anything is felt");
    assert_eq!(seal.hands.open(0), Err(HandsError::NotWhole(Part::Cover)), "nothing is known yet");
    assert_eq!(seal.feel(100), [Closed]);

    let bench = Bench::default();
    bench.get().is_stuck = true;
    for pin in [HOME, COVER, PRESS] {
        bench.set(pin, true);
    }
    let felt = Seal::start(&bench).feel(20_000);
    let parts = [Part::Cover, Part::Lock, Part::Press].map(Tampered);
    assert_eq!(felt, [&[Pressed][..], &parts].concat());
}

#[test]
fn a_spike_on_a_loop_is_nothing_and_a_cut_is_told_once() {
    let mut seal = Seal::closed();
    seal.bench.set(COVER, true);
    assert_eq!(seal.feel(10), []);
    seal.bench.set(COVER, false);
    assert_eq!(seal.feel(100), []);
    seal.bench.set(COVER, true);
    assert_eq!(seal.feel(60_000), [Tampered(Part::Cover)]);
    assert_eq!(seal.hands.ready(), Err(HandsError::NotWhole(Part::Cover)));
}

#[test]
fn pins_that_cannot_be_read_are_tampered_with_and_nothing_is_closed() {
    let mut seal = Seal::opened();
    seal.bench.get().is_dead = true;
    assert_eq!(seal.feel(100), [Tampered(Part::Pins)]);
    seal.close();
    assert_eq!(seal.feel(10_000), [NotClosed]);
    assert!(!seal.bench.is_held(), "but it was let go");
    seal.bench.get().is_dead = false;
    assert_eq!(seal.feel(100), [Closed]);
    seal.bench.get().is_dead = true;
    assert_eq!(seal.feel(100), [Tampered(Part::Pins)], "told again when it begins again");
    assert_eq!(seal.hands.ready(), Err(HandsError::NotWhole(Part::Pins)));
}

#[test]
fn a_lock_whose_pin_fails_is_not_open_and_not_closed_and_is_let_go_as_soon_as_it_works() {
    let mut seal = Seal::closed();
    seal.bench.get().is_lock_dead = true;
    assert!(matches!(seal.hands.open(seal.now_ms), Err(HandsError::Lock(_))));

    let mut seal = Seal::opened();
    seal.bench.get().is_lock_dead = true;
    seal.close();
    assert_eq!(seal.feel(10_000), [NotClosed]);
    seal.bench.get().is_lock_dead = false;
    assert_eq!(seal.feel(100), [Closed]);
    assert!(!seal.bench.is_held());
}

#[test]
fn a_contact_that_says_closed_is_not_believed_while_the_lock_is_held_or_another_pin_is_dead() {
    let mut seal = Seal::opened();
    seal.bench.get().is_lock_dead = true;
    seal.bench.set(HOME, false);
    seal.close();
    assert_eq!(seal.feel(10_000), [NotClosed]);

    let pins = Late { edges: Vec::new(), dead: Some(COVER) };
    let mut hands = PinHands::new(pins, Nothing, wiring(), Times::USUAL, 0);
    let mut felt = Vec::new();
    for now_ms in (0..10_000).step_by(5) {
        hands.feel(now_ms, &mut felt);
    }
    assert_eq!(felt, [Tampered(Part::Pins), Tampered(Part::Lock)]);
}

#[test]
fn one_that_is_dropped_lets_go() {
    let seal = Seal::opened();
    let bench = seal.bench.clone();
    assert!(bench.is_held());
    drop(seal);
    assert!(!bench.is_held());
}

/// Edges with their own time, as interrupts give them.
struct Late {
    edges: Vec<Edge>,
    dead: Option<u8>,
}

impl Pins for Late {
    fn is_high(&mut self, pin: u8) -> Result<bool, String> {
        if self.dead == Some(pin) { Err("dead".into()) } else { Ok(false) }
    }
    fn edges(&mut self, _now_ms: u64, into: &mut Vec<Edge>) -> Result<(), String> {
        into.append(&mut self.edges);
        Ok(())
    }
}

struct Nothing;

impl ErrorType for Nothing {
    type Error = Infallible;
}

impl OutputPin for Nothing {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn strokes_that_came_while_the_thread_was_held_up_are_all_told() {
    let mut hands = PinHands::new(Late { edges: Vec::new(), dead: None }, Nothing, wiring(), Times::USUAL, 0);
    let mut felt = Vec::new();
    for now_ms in [0, 50] {
        hands.feel(now_ms, &mut felt);
    }
    let stroke = |at_ms: u64| {
        [(0, true), (3, false), (4, true), (80, false)].map(|(after, high)| Edge {
            pin: PRESS,
            at_ms: at_ms + after,
            high,
        })
    };
    hands.pins.edges.extend([stroke(100), stroke(300), stroke(500)].concat());
    hands.feel(1_000, &mut felt);
    assert_eq!(felt, [Closed, Pressed, Pressed, Pressed]);
}

#[test]
fn a_pin_has_one_duty() {
    assert_eq!(wiring().twice(), None);
    assert_eq!(Wiring { seat: Some(LOCK), ..wiring() }.twice(), Some(LOCK));
}
