//! One use, step by step, and cut at every step.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::*;
use crate::decision::{Leave, Moment, decide};
use crate::grant::{Evidence, Grant};
use crate::keys::digest;
use crate::memory::{Contact, Entry, Memory};
use crate::receipt::{Outcome, UseOf};
use crate::refusal::Refusal;
use crate::stamping::{Action, Event, Stamping, after_a_start};

const NOW_S: u64 = NOON_S + 3600;

fn leave() -> Leave {
    decide(&trust(), &memory(), &in_order(&grant(1)), &moment()).unwrap()
}

/// Tells a story of events; what is done after each, in letters: `p`hotograph, `s`pend, `n`umber counted, `o`pen, `c`lose,
/// `d`one, `l`ock, `h`alt; and how it ended.
fn told(leave: Leave, events: &[Event]) -> (Vec<&'static str>, Result<Option<Outcome>, Refusal>) {
    let (mut stamping, mut memory) = (Stamping::default(), memory());
    let (mut said, mut ended) = (Vec::new(), Ok(None));
    let mut actions = stamping.begin(leave, &memory, NOW_S);
    let mut events = events.iter();
    loop {
        for action in actions {
            said.push(match action {
                Action::Photograph => "p",
                Action::Journal(entry) => {
                    memory.add(&entry);
                    if matches!(entry, Entry::Consumed { .. }) { "s" } else { "d" }
                }
                Action::Lock(scene) => {
                    memory.add(&Entry::Tampered { scene });
                    "l"
                }
                Action::Count(_) => "n",
                Action::Open => "o",
                Action::Close => "c",
                Action::Settle => {
                    ended = Ok(memory.owed.as_ref().map(|owed| owed.outcome));
                    "."
                }
                Action::Refuse(_, why) => {
                    ended = Err(why);
                    "."
                }
                Action::Halt => "h",
            });
        }
        let Some(&event) = events.next() else { break };
        actions = stamping.on(event, &memory, NOW_S);
    }
    assert_eq!(stamping.is_idle(), said.last() == Some(&"."), "{said:?}");
    (said, ended)
}

#[test]
fn each_way_a_use_can_go() {
    use Event::*;
    let picture = Photographed(Some(digest(&[b"picture"])));
    let all = leave;
    let bare = || Leave { evidence: Evidence::default(), ..leave() };
    let ok = |outcome| Ok(Some(outcome));
    for (leave, events, steps, expected) in [
        (
            all(),
            vec![picture, Journaled, Counted, Pressed, Closed, picture, Journaled],
            "p s n o c p d .",
            ok(Outcome::Stamped),
        ),
        (bare(), vec![Journaled, Counted, Pressed, Closed, Journaled], "s n o c d .", ok(Outcome::Stamped)),
        (all(), vec![Photographed(None)], "p .", Err(Refusal::Photograph)),
        (all(), vec![TimedOut], "p .", Err(Refusal::Photograph)),
        (all(), vec![Tampered], "p l .", ok(Outcome::Tampered)),
        (all(), vec![Pressed], "p l .", ok(Outcome::Tampered)),
        (bare(), vec![JournalFailed], "s h", Ok(None)),
        (bare(), vec![Tampered, Journaled, Counted, Journaled], "s l n d .", ok(Outcome::Tampered)),
        (bare(), vec![TimedOut, Journaled, Counted, Journaled], "s n d .", ok(Outcome::NotPressed)),
        (bare(), vec![Journaled, CountFailed, Journaled], "s n d .", ok(Outcome::NotPressed)),
        (bare(), vec![Journaled, Tampered, CountFailed, Journaled], "s n l d .", ok(Outcome::Tampered)),
        (
            bare(),
            vec![Journaled, Counted, TimedOut, Closed, Journaled],
            "s n o c d .",
            ok(Outcome::NotPressed),
        ),
        (
            bare(),
            vec![Journaled, Counted, TimedOut, Pressed, Closed, Journaled],
            "s n o c d .",
            ok(Outcome::Stamped),
        ),
        (
            bare(),
            vec![Journaled, Counted, Tampered, Closed, Journaled],
            "s n o c l d .",
            ok(Outcome::Tampered),
        ),
        (
            bare(),
            vec![Journaled, Counted, Pressed, CloseFailed, Journaled],
            "s n o c d .",
            ok(Outcome::NotClosed),
        ),
        (
            bare(),
            vec![Journaled, Counted, Pressed, Pressed, Closed, Journaled],
            "s n o c d .",
            ok(Outcome::PressedAgain),
        ),
        (
            all(),
            vec![picture, Journaled, Counted, Pressed, Closed, Pressed, TimedOut, Journaled],
            "p s n o c p d .",
            ok(Outcome::PressedAgain),
        ),
        (
            all(),
            vec![picture, Journaled, Counted, Pressed, Closed, Tampered, picture, JournalFailed],
            "p s n o c p l d h",
            Ok(None),
        ),
        // What cannot be at this step changes nothing.
        (bare(), vec![Closed, Counted, picture, CloseFailed, JournalFailed, Journaled], "s h", Ok(None)),
    ] {
        let (said, ended) = told(leave, &events);
        assert_eq!((said.join(" ").as_str(), ended), (steps, expected), "{events:?}");
    }
}

#[test]
fn a_leave_holds_for_as_long_as_what_it_was_given_for() {
    let picture = Event::Photographed(Some(digest(&[b"picture"])));
    let after = |change: fn(&mut Memory), now_s| {
        let (mut stamping, mut memory) = (Stamping::default(), memory());
        assert_eq!(stamping.begin(leave(), &memory, NOW_S), [Action::Photograph]);
        let busy = Action::Refuse(UseOf { number: 0, ..leave().used }, Refusal::Busy);
        assert_eq!(stamping.begin(leave(), &memory, NOW_S), [busy], "one at a time, and nothing was used");
        change(&mut memory);
        match &stamping.on(picture, &memory, now_s)[..] {
            [Action::Refuse(used, why)] if used.number == 0 => Some(*why),
            [Action::Journal(Entry::Consumed { .. })] => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(after(|_| (), NOW_S), None);
    assert_eq!(after(|_| (), grant(1).expires_s), Some(Refusal::Expired));
    assert_eq!(after(|memory| memory.is_locked = true, NOW_S), Some(Refusal::Locked));
    assert_eq!(after(|memory| memory.revoked.push((id(1), NOW_S + 9)), NOW_S), Some(Refusal::Revoked));
    let used = leave().used;
    let entry = Entry::Consumed { used, expires_s: NOW_S + 9, scene: scene(), before: None, counter: 1 };
    let mut spent = memory();
    spent.add(&entry);
    let mut stamping = Stamping::default();
    let bare = Leave { evidence: Evidence::default(), ..leave() };
    assert!(
        matches!(stamping.begin(bare, &spent, NOW_S)[..], [Action::Refuse(_, Refusal::Busy)]),
        "the same twice"
    );
}

/// A device whose power may go at any step, and whose parts fail. After a start it knows what its journal holds.
struct Device {
    rng: fastrand::Rng,
    journal: Vec<Entry>,
    memory: Memory,
    /// The counter that never goes back.
    counter: u64,
    opened: usize,
    presses: usize,
    is_open: bool,
    is_broken: bool,
    steps_left: usize,
    /// One in so many things fails or happens unasked.
    one_in: u32,
}

impl Device {
    fn goes_wrong(&mut self) -> bool {
        self.rng.u32(..self.one_in) == 0
    }

    /// One step; `None` when the power has gone, and then it is closed by a spring.
    fn step(&mut self) -> Option<()> {
        match self.steps_left.checked_sub(1) {
            Some(left) => {
                self.steps_left = left;
                Some(())
            }
            None => {
                self.is_open = false;
                None
            }
        }
    }

    /// Whether an entry is on the card; when not, it may be there all the same.
    fn journal(&mut self, entry: Entry) -> Option<bool> {
        if self.step().is_none() || self.goes_wrong() {
            if self.rng.bool() {
                self.journal.push(entry);
            }
            self.is_broken = true;
            return (self.steps_left > 0).then_some(false);
        }
        self.memory.add(&entry);
        self.journal.push(entry);
        Some(true)
    }

    fn settle(&mut self) -> Option<()> {
        if self.memory.owed.is_some() && !self.is_broken {
            let number = self.memory.receipts + 1;
            self.journal(Entry::Receipt { number, digest: digest(&[b"receipt"]), settles: true })?;
        }
        Some(())
    }

    fn start(&mut self) -> Option<()> {
        self.memory = Memory::default();
        self.is_broken = false;
        self.journal.iter().for_each(|entry| self.memory.add(entry));
        for action in after_a_start(&self.memory, self.counter) {
            self.step()?;
            match action {
                Action::Count(to) => self.counter = to,
                Action::Journal(entry) => drop(self.journal(entry)?),
                other => panic!("{other:?}"),
            }
        }
        self.settle()?;
        if self.memory.tampered > self.memory.cleared && !self.is_broken {
            // Somebody has looked into it.
            let (cleared, counter) = (self.memory.tampered, self.counter);
            let contact = Contact {
                since: 0,
                epoch: 0,
                revoked: vec![],
                lock: false,
                cleared,
                min_sequence: 0,
                counter,
                at_s: NOON_S,
                receipts: 0,
                last_receipt: [0; 32].into(),
                tampered: 0,
                policy: 0,
            };
            self.journal(Entry::Contact(contact))?;
        }
        Some(())
    }

    /// Presents a grant and stamps, if it may; whether it might.
    fn stamp(&mut self, presented: &[u8]) -> Option<bool> {
        let now = Moment { counter: self.counter, ..moment() };
        let leave = match decide(&trust(), &self.memory, presented, &now) {
            Ok(leave) if !self.is_broken => leave,
            _ => return Some(false),
        };
        let mut stamping = Stamping::default();
        let mut actions: VecDeque<Action> = stamping.begin(leave, &self.memory, NOW_S).into();
        while let Some(action) = actions.pop_front() {
            self.step()?;
            let mut events = Vec::new();
            let wrong = self.goes_wrong();
            match action {
                Action::Photograph => {
                    events.push(Event::Photographed(Some(digest(&[b"picture"])).filter(|_| !wrong)));
                }
                Action::Journal(entry) => {
                    let is_there = self.journal(entry)?;
                    events.push(if is_there { Event::Journaled } else { Event::JournalFailed });
                }
                Action::Count(to) => {
                    assert_eq!(to, self.counter + 1);
                    self.counter += u64::from(!wrong);
                    events.push(if wrong { Event::CountFailed } else { Event::Counted });
                }
                Action::Lock(scene) => drop(self.journal(Entry::Tampered { scene })?),
                Action::Open => {
                    assert!(!self.is_open && self.memory.pending.is_some());
                    (self.is_open, self.opened) = (true, self.opened + 1);
                    self.step()?;
                    if wrong {
                        events.push(if self.rng.bool() { Event::TimedOut } else { Event::Tampered });
                    } else {
                        self.presses += 1;
                        events.push(Event::Pressed);
                    }
                }
                Action::Close => {
                    self.is_open = false;
                    events.push(if wrong { Event::CloseFailed } else { Event::Closed });
                }
                Action::Settle => self.settle()?,
                Action::Refuse(..) | Action::Halt => {}
            }
            if self.goes_wrong() {
                events.insert(0, Event::Tampered);
            }
            actions.extend(events.into_iter().flat_map(|event| stamping.on(event, &self.memory, NOW_S)));
        }
        assert!(!self.is_open, "it is closed when it has ended");
        Some(true)
    }
}

/// Lives a device until both of its grants are used up; how many uses were lost.
fn lived(grants: &[Vec<u8>; 2], seed: u64, steps: &[usize], one_in: u32) -> usize {
    let mut device = Device {
        rng: fastrand::Rng::with_seed(seed),
        journal: Vec::new(),
        memory: memory(),
        counter: 0,
        opened: 0,
        presses: 0,
        is_open: false,
        is_broken: false,
        steps_left: 0,
        one_in,
    };
    let wrong = if one_in == u32::MAX { 0 } else { 8 };
    for (life, &steps_left) in steps.iter().chain(&[usize::MAX; 9][..=wrong]).enumerate() {
        // At last nothing goes wrong any more.
        if life == steps.len() + wrong {
            device.one_in = u32::MAX;
        }
        device.steps_left = steps_left;
        if device.start().is_none() {
            continue;
        }
        loop {
            let which = device.rng.usize(..2);
            if device.stamp(&grants[which]) != Some(true) {
                break;
            }
        }
        device.is_open = false;
    }
    device.steps_left = usize::MAX;
    device.start().unwrap();
    let spent = device.journal.iter().filter(|entry| matches!(entry, Entry::Consumed { .. })).count();
    let settled =
        device.journal.iter().filter(|entry| matches!(entry, Entry::Receipt { settles: true, .. })).count();
    let tampered = device.journal.iter().filter(|entry| matches!(entry, Entry::Tampered { .. })).count();
    assert!(device.opened <= spent && device.opened <= 5, "seed {seed}: opened {} times", device.opened);
    assert!(device.presses <= device.opened, "seed {seed}");
    assert_eq!((&device.memory.pending, &device.memory.owed), (&None, &None), "seed {seed}");
    assert!((spent..=spent + tampered).contains(&settled), "seed {seed}: {spent} spent, {settled} receipts");
    assert_eq!(device.memory.counter, device.counter, "seed {seed}");
    spent - device.opened
}

fn grants() -> [Vec<u8>; 2] {
    [grant(1), Grant { max_uses: 3, ..grant(2) }].map(|grant| in_order(&grant))
}

#[test]
fn a_power_cut_at_any_step_loses_a_use_and_never_adds_one() {
    let (mut lost, grants) = (0, grants());
    for first in 0..30 {
        for second in (first % 3..30).step_by(3) {
            lost += lived(&grants, first * 30 + second, &[first as usize, second as usize], u32::MAX);
        }
    }
    assert!(lost > 100, "{lost}");
}

#[test]
fn nor_does_anything_else_that_goes_wrong() {
    let (mut lost, grants) = (0, grants());
    for seed in 0..150 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let steps: Vec<usize> = (0..rng.usize(..9)).map(|_| rng.usize(..40)).collect();
        lost += lived(&grants, seed, &steps, rng.u32(3..30));
    }
    assert!(lost > 100, "{lost}");
}
