//! The clocks of a box, as a story turns them.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use gateway::clock::{Clocks, Machine, Word};

/// One start of a box. The machine that the test runs on knows what time it really is; the box has to find out.
#[derive(Debug)]
pub(crate) struct World(Mutex<Turned>);

#[derive(Debug, Default)]
struct Turned {
    /// What the wall clock of the box shows beyond the right time, in ms.
    wrong_ms: i64,
    /// The right time in the story beyond the machine's, in ms: a story with a sleep begins in the past.
    ahead_ms: i64,
    slept: Duration,
    word: Word,
    /// Right time when the gateway started to count, in ms since 1970.
    began_ms: Option<i64>,
}

impl World {
    /// A box whose wall clock is right, and of which no time service has said anything.
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// The same, with so much time before now that it can sleep and wake up now.
    pub(crate) fn before(sleep: Duration) -> Self {
        let world = Self::new();
        world.turned().ahead_ms = -ms(sleep);
        world
    }

    fn turned(&self) -> MutexGuard<'_, Turned> {
        self.0.lock().unwrap()
    }

    /// The right time, in ms since 1970.
    pub(crate) fn right_ms(&self) -> i64 {
        Machine.wall_ms() + self.turned().ahead_ms
    }

    /// The right time at the gateway's monotonic zero, in ms since 1970.
    pub(crate) fn began_ms(&self) -> i64 {
        self.turned().began_ms.expect("a gateway has started")
    }

    /// The wall clock is off by so much from now on.
    pub(crate) fn wrong_by(&self, ms: i64) {
        self.turned().wrong_ms = ms;
    }

    /// The wall clock begins at the start of 1970, as on a box without a battery.
    pub(crate) fn forget_the_year(&self) {
        self.wrong_by(-self.right_ms());
    }

    /// A time service says that the wall clock is right as it stands.
    pub(crate) fn confirm(&self) {
        let shown_ms = self.wall_ms();
        self.turned().word = Word::given(shown_ms);
    }

    /// The network comes: the wall clock is set, and a time service says so.
    pub(crate) fn set_right(&self) {
        self.wrong_by(0);
        self.confirm();
    }

    /// The box sleeps: boot time and wall clock go on, the monotonic clock and every timer stand still.
    pub(crate) fn sleep(&self, time: Duration) {
        let mut turned = self.turned();
        turned.slept += time;
        turned.ahead_ms += ms(time);
    }
}

impl Clocks for World {
    fn boottime(&self) -> Duration {
        let (right_ms, mut turned) = (self.right_ms(), self.turned());
        turned.began_ms.get_or_insert(right_ms);
        Machine.boottime() + turned.slept
    }

    fn monotonic(&self) -> Duration {
        Machine.monotonic()
    }

    fn wall_ms(&self) -> i64 {
        self.right_ms() + self.turned().wrong_ms
    }

    fn word(&self) -> Word {
        self.turned().word
    }
}

fn ms(time: Duration) -> i64 {
    time.as_millis() as i64
}
