//! The steps of one use.
//!
//! ```text
//! leave ─► photograph before ─► journal "spent" ─► count ─► open ─► pressed ─► close ─► photograph after ─► journal "done"
//! ```
//!
//! Nothing opens before "spent" is on stable storage and the counter that never goes back has been moved, and each "spent"
//! opens once: a power cut loses a use and never adds one. What can fail without costing a use (the picture of the paper) is
//! done before. It closes as soon as it was pressed, before anything else is done.
//!
//! Whoever drives this does one action after the other, hears of each before the next, and drops what comes too late. When
//! the journal has failed once nothing moves until a start has read it again: what lies behind a torn record may be lost.

use alloc::vec;
use alloc::vec::Vec;

use crate::decision::Leave;
use crate::keys::Digest;
use crate::memory::{Entry, Memory};
use crate::receipt::{Outcome, Scene, UseOf};
use crate::refusal::Refusal;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The picture that was asked for: its digest, or that there is none.
    Photographed(Option<Digest>),
    /// The journal has it on stable storage, and the memory has added it.
    Journaled,
    /// The journal could not.
    JournalFailed,
    /// The counter shows what was asked for.
    Counted,
    /// It does not.
    CountFailed,
    /// It was pressed.
    Pressed,
    /// It is closed: nothing can be pressed any more.
    Closed,
    /// It does not close.
    CloseFailed,
    /// What is being waited for takes longer than it may.
    TimedOut,
    /// Somebody touched what nobody may.
    Tampered,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Take a picture.
    Photograph,
    /// Journal this and flush it.
    Journal(Entry),
    /// Journal at once that it was tampered with; nothing is heard of that, and if it fails it is locked all the same.
    Lock(Scene),
    /// Move the counter to this.
    Count(u64),
    /// Let the seal be pressed.
    Open,
    /// Do not any more.
    Close,
    /// It has ended, and a receipt is owed: see [`Memory::owed`].
    Settle,
    /// It has ended before anything was spent: write a receipt of a refusal.
    Refuse(UseOf, Refusal),
    /// It has ended, and the journal does not work: say so. A start finds what there is to be settled.
    Halt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Idle,
    Before,
    Spending,
    Counting,
    Open,
    Closing,
    After,
    Ending,
    /// The journal has failed.
    Broken,
}

/// One use at a time.
#[derive(Debug)]
pub struct Stamping {
    step: Step,
    leave: Option<Leave>,
    counter: u64,
    presses: u8,
    before: Option<Digest>,
    after: Option<Digest>,
    is_tampered: bool,
    is_late: bool,
}

impl Default for Stamping {
    fn default() -> Self {
        Self {
            step: Step::Idle,
            leave: None,
            counter: 0,
            presses: 0,
            before: None,
            after: None,
            is_tampered: false,
            is_late: false,
        }
    }
}

impl Stamping {
    /// Whether the next use may begin.
    pub fn is_idle(&self) -> bool {
        self.step == Step::Idle
    }

    /// Begins a use. `now_s` is the time as [`Scene`] has it.
    pub fn begin(&mut self, leave: Leave, memory: &Memory, now_s: u64) -> Vec<Action> {
        match self.step {
            Step::Idle => {}
            Step::Broken => return refused(&leave, Refusal::Journal),
            _ => return refused(&leave, Refusal::Busy),
        }
        let needs_picture = leave.evidence.before;
        *self = Self { leave: Some(leave), ..Self::default() };
        if needs_picture {
            self.step = Step::Before;
            return vec![Action::Photograph];
        }
        self.spend(memory, now_s)
    }

    /// What to do about an event, in this order. What cannot be at this step changes nothing. Tampering while no use is going
    /// on is not for here: it is journaled as [`Entry::Tampered`].
    pub fn on(&mut self, event: Event, memory: &Memory, now_s: u64) -> Vec<Action> {
        match (self.step, event) {
            (Step::Before, Event::Photographed(Some(picture))) => {
                self.before = Some(picture);
                self.spend(memory, now_s)
            }
            (Step::Before, Event::Photographed(None) | Event::TimedOut) => self.refuse(Refusal::Photograph),
            // Pressed while it is closed: somebody has found a way around it.
            (Step::Before, Event::Tampered | Event::Pressed) => {
                let mut actions = self.lock();
                *self = Self::default();
                actions.push(Action::Settle);
                actions
            }
            (Step::Spending | Step::Counting, Event::Tampered | Event::Pressed) => self.lock(),
            (Step::Spending | Step::Counting, Event::TimedOut) => {
                self.is_late = true;
                Vec::new()
            }
            // On the card it may be spent all the same. Nothing moved, and nothing will before a start has looked.
            (Step::Spending | Step::Ending, Event::JournalFailed) => {
                self.step = Step::Broken;
                vec![Action::Halt]
            }
            (Step::Spending, Event::Journaled) => {
                self.step = Step::Counting;
                vec![Action::Count(self.counter)]
            }
            (Step::Counting, Event::Counted) if !self.is_tampered && !self.is_late => {
                self.step = Step::Open;
                vec![Action::Open]
            }
            (Step::Counting, Event::Counted | Event::CountFailed) => self.end_as_pressed(),
            (Step::Open, Event::Pressed) => {
                self.presses = 1;
                self.close()
            }
            (Step::Open, Event::TimedOut) => self.close(),
            (Step::Open, Event::Tampered) => {
                let mut actions = self.close();
                actions.extend(self.lock());
                actions
            }
            (Step::Closing | Step::After, Event::Pressed) => {
                self.presses = self.presses.saturating_add(1);
                Vec::new()
            }
            (Step::Closing | Step::After, Event::Tampered) => self.lock(),
            (Step::Closing, Event::CloseFailed | Event::TimedOut) => self.end(Outcome::NotClosed),
            (Step::Closing, Event::Closed) => {
                if self.presses > 0 && self.leave.as_ref().is_some_and(|leave| leave.evidence.after) {
                    self.step = Step::After;
                    return vec![Action::Photograph];
                }
                self.end_as_pressed()
            }
            (Step::After, Event::Photographed(picture)) => {
                self.after = picture;
                self.end_as_pressed()
            }
            (Step::After, Event::TimedOut) => self.end_as_pressed(),
            (Step::Ending, Event::Journaled) => {
                *self = Self::default();
                vec![Action::Settle]
            }
            _ => Vec::new(),
        }
    }

    /// Spends the use, if the leave still holds: taking a picture takes seconds.
    fn spend(&mut self, memory: &Memory, now_s: u64) -> Vec<Action> {
        let Some(leave) = &self.leave else { return Vec::new() };
        let next = memory.next_use(leave.used, now_s, memory.counter);
        let holds = memory.is_free(&leave.used.grant).and(next).and_then(|used| {
            let is_it = used == leave.used && now_s < leave.expires_s;
            if is_it { Ok(()) } else { Err(Refusal::Expired) }
        });
        if let Err(why) = holds {
            return self.refuse(why);
        }
        let (used, expires_s, scene) = (leave.used, leave.expires_s, leave.scene.clone());
        self.step = Step::Spending;
        self.counter = memory.counter.saturating_add(1);
        vec![Action::Journal(Entry::Consumed {
            used,
            expires_s,
            scene,
            before: self.before,
            counter: self.counter,
        })]
    }

    fn lock(&mut self) -> Vec<Action> {
        self.is_tampered = true;
        self.leave.iter().map(|leave| Action::Lock(leave.scene.clone())).collect()
    }

    fn close(&mut self) -> Vec<Action> {
        self.step = Step::Closing;
        vec![Action::Close]
    }

    fn end_as_pressed(&mut self) -> Vec<Action> {
        self.end(match self.presses {
            _ if self.is_tampered => Outcome::Tampered,
            0 => Outcome::NotPressed,
            1 => Outcome::Stamped,
            _ => Outcome::PressedAgain,
        })
    }

    fn end(&mut self, outcome: Outcome) -> Vec<Action> {
        self.step = Step::Ending;
        vec![Action::Journal(Entry::Done { outcome, presses: self.presses, after: self.after })]
    }

    fn refuse(&mut self, why: Refusal) -> Vec<Action> {
        let leave = self.leave.take();
        *self = Self::default();
        leave.iter().flat_map(|leave| refused(leave, why)).collect()
    }
}

/// Nothing was used: the number says so.
fn refused(leave: &Leave, why: Refusal) -> Vec<Action> {
    vec![Action::Refuse(UseOf { number: 0, ..leave.used }, why)]
}

/// What is to be done after a start, before anything else: the `counter` is moved if the power went between a use and that,
/// or it did not move; and of a use that had begun and not ended nobody knows how it went.
pub fn after_a_start(memory: &Memory, counter: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    // By one only: a card that is further ahead is not this device's.
    if counter.checked_add(1) == Some(memory.counter) {
        actions.push(Action::Count(memory.counter));
    }
    if memory.pending.is_some() {
        let done = Entry::Done { outcome: Outcome::Unknown, presses: 0, after: None };
        actions.push(Action::Journal(done));
    }
    actions
}
