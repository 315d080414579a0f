//! Time with provenance: time since the start, and what the box knows of the wall clock.
//!
//! Readings carry times since the start, which never jump and go on while the box sleeps (`CLOCK_BOOTTIME`). A
//! [`wire::Clock`] says what wall time the start was; [`Estimate`] (pure) decides when that changed, [`Timekeeper`]
//! reads the [`Clocks`].
//!
//! How far the wall clock is believed:
//! - synchronised: a time service has said so in this start of the box, and the clock has not stepped since without
//!   its word. Its word is a marker file: systemd-timesyncd touches `/run/systemd/timesync/synchronized` at each
//!   adjustment; for every other service `watchfire-clock.service` leaves `/run/watchfire/clock-synchronised` when
//!   `time-sync.target` is reached. (The kernel's own flag needs `adjtimex`, which no well-kept safe wrapper offers
//!   and which `ProtectClock=` of our own sandbox refuses.)
//! - held over: nobody has confirmed it now. After a step that nobody confirmed, the wall time that was synchronised
//!   runs on by the monotonic clock, so a jump by hand moves no reading. A clock that was never confirmed is
//!   taken as it is, if it is not before the floor.
//! - unset: the clock lies before the floor, so it is wrong for sure. The box then claims the floor: a time that has
//!   certainly passed. Ingest lets such readings wait until the box knows better.
//!
//! The floor is the newest time known to have passed: this program was built then, or an earlier start knew it (see
//! [`crate::floor`]).

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use wire::{BootId, Clock, ClockState};

/// The wall clock has stepped when it moved by more than this against the monotonic one, in ms. Less is drift,
/// which a batch of a few seconds does not notice.
pub const STEP_MS: u64 = 250;
/// Slowest crystal that is worth the name: 100 ppm, as a divisor. A clock held over may be so far off.
const DRIFT_DIVISOR: u64 = 10_000;
/// When this program was built, in ms since 1970: `SOURCE_DATE_EPOCH` of the build, else the start of 2026. It did
/// not exist before, so an earlier clock is wrong.
pub const BUILT_MS: i64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => match i64::from_str_radix(text, 10) {
        Ok(seconds) if seconds > 1_767_225_600 => seconds * 1000,
        _ => 1_767_225_600_000,
    },
    None => 1_767_225_600_000,
};
/// What time services leave behind once the clock is right.
const MARKERS: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/watchfire/clock-synchronised"];

/// The last word of the time services: when each touched its marker, in ms since 1970. Any change is a new word,
/// also one backwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Word([Option<i64>; MARKERS.len()]);

impl Word {
    /// The word of one service, given when the wall clock showed `at_ms`, in ms since 1970.
    pub fn given(at_ms: i64) -> Self {
        let mut word = Self::default();
        word.0[0] = Some(at_ms);
        word
    }

    /// Whether any service has spoken in this start of the box.
    fn is_given(self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// What the wall clock showed when a service spoke anew, in ms since 1970; `None` when none did.
    fn news_since(self, before: Self) -> Option<i64> {
        let markers = self.0.into_iter().zip(before.0);
        markers.filter(|(now, before)| now != before).filter_map(|(now, _)| now).max()
    }
}

/// One look at all clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Milliseconds since the start of the program, sleep of the box included.
    pub mono_ms: u64,
    /// What the wall clock shows, in ms since 1970 UTC.
    pub wall_ms: i64,
    /// What the time services say.
    pub word: Word,
}

impl Look {
    /// Wall time at monotonic zero, if the wall clock is right.
    fn epoch_ms(&self) -> i64 {
        self.wall_ms.saturating_sub(signed(self.mono_ms))
    }
}

/// Steps of the wall clock against the monotonic one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// How many since the start.
    pub count: u64,
    /// The last one, in ms; negative went back.
    pub last_ms: i64,
}

/// Follows the wall clock and says when it changed. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// What readings are told.
    clock: Clock,
    /// Wall time at monotonic zero as far as it is proved: from the floor, and from a time service once one spoke.
    proved_ms: i64,
    /// Whether a time service has confirmed the clock in this start.
    confirmed: bool,
    /// The last word that was heard, believed or not.
    word: Word,
    /// When wall clock and proof last agreed, in ms since the start.
    agreed_ms: u64,
    /// Wall time at monotonic zero by the wall clock, at the last look.
    seen_ms: i64,
    /// When that was, in ms since the start.
    looked_ms: u64,
    steps: Steps,
}

impl Estimate {
    /// A first estimate. `floor_ms`: a wall time that has certainly passed, in ms since 1970.
    pub fn new(floor_ms: i64, look: Look) -> Self {
        let proved_ms = floor_ms.max(BUILT_MS).saturating_sub(signed(look.mono_ms));
        // A clock before the floor is wrong, whatever an old marker says: only a new word will do.
        let disbelieved = look.epoch_ms().saturating_add_unsigned(STEP_MS) < proved_ms;
        let mut first = Self {
            clock: Clock { state: ClockState::Unset, epoch_ms: proved_ms },
            proved_ms,
            confirmed: false,
            word: if disbelieved { look.word } else { Word::default() },
            agreed_ms: look.mono_ms,
            seen_ms: look.epoch_ms(),
            looked_ms: look.mono_ms,
            steps: Steps::default(),
        };
        let is_news = look.word.news_since(first.word).is_some();
        first.clock = first.judge(&look, is_news);
        first
    }

    /// Looks again; the new clock when it stepped or its state changed. Call about once a second; more often
    /// does no harm.
    pub fn observe(&mut self, look: Look) -> Option<Clock> {
        let step_ms = look.epoch_ms().saturating_sub(self.seen_ms);
        self.seen_ms = look.epoch_ms();
        if step_ms.unsigned_abs() > STEP_MS {
            self.steps = Steps { count: self.steps.count + 1, last_ms: step_ms };
        }
        // A service spoke since the last look, and not longer ago by the wall clock either: else somebody moved the
        // clock after the word, which then says nothing of it.
        let since_ms = signed(look.mono_ms.saturating_sub(self.looked_ms));
        let is_news = look.word.news_since(self.word).is_some_and(|spoken_ms| {
            let age_ms = look.wall_ms.saturating_sub(spoken_ms);
            (-signed(STEP_MS)..=since_ms.saturating_add(signed(STEP_MS))).contains(&age_ms)
        });
        self.looked_ms = look.mono_ms;
        let next = self.judge(&look, is_news);
        let moved_ms = next.epoch_ms.abs_diff(self.clock.epoch_ms);
        if moved_ms <= STEP_MS && next.state == self.clock.state {
            return None;
        }
        self.clock = next;
        Some(next)
    }

    fn judge(&mut self, look: &Look, is_news: bool) -> Clock {
        let epoch_ms = look.epoch_ms();
        let new_word = is_news && look.wall_ms >= BUILT_MS;
        self.word = look.word;
        let slack_ms = STEP_MS + look.mono_ms.saturating_sub(self.agreed_ms) / DRIFT_DIVISOR;
        let agrees = self.confirmed && epoch_ms.abs_diff(self.proved_ms) <= slack_ms;
        if new_word || agrees {
            (self.confirmed, self.proved_ms, self.agreed_ms) = (true, epoch_ms, look.mono_ms);
        }
        let (state, epoch_ms) = match self.confirmed {
            true if new_word || (agrees && look.word.is_given()) => (ClockState::Synchronised, epoch_ms),
            true => (ClockState::HeldOver, self.proved_ms),
            false if epoch_ms.saturating_add_unsigned(STEP_MS) >= self.proved_ms => {
                (ClockState::HeldOver, epoch_ms)
            }
            false => (ClockState::Unset, self.proved_ms),
        };
        Clock { state, epoch_ms }
    }

    /// The clock as last estimated.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The newest wall time known to have passed at `mono_ms`: what the next start may take for its floor. A
    /// clock that nobody confirmed adds nothing to it, so one that was wrong once does no harm for ever.
    pub fn passed_ms(&self, mono_ms: u64) -> i64 {
        self.proved_ms.saturating_add(signed(mono_ms))
    }

    /// How often and how far the wall clock stepped.
    pub fn steps(&self) -> Steps {
        self.steps
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// When something happened, with all that a frame needs to say so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// This start of the box.
    pub boot: BootId,
    /// What is known of the wall clock.
    pub clock: Clock,
    /// Milliseconds since the start.
    pub mono_ms: u64,
}

/// Where the clocks are read: on this machine, or in a test of wrong clocks in a world that it turns.
pub trait Clocks: fmt::Debug + Send + Sync {
    /// Time since the box booted, sleep included (`CLOCK_BOOTTIME`).
    fn boottime(&self) -> Duration;
    /// Time since the box booted, sleep left out (`CLOCK_MONOTONIC`); timers run by it.
    fn monotonic(&self) -> Duration;
    /// What the wall clock shows, in ms since 1970 UTC.
    fn wall_ms(&self) -> i64;
    /// What the time services say.
    fn word(&self) -> Word;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Machine;

impl Clocks for Machine {
    fn boottime(&self) -> Duration {
        read(ClockId::Boottime)
    }

    fn monotonic(&self) -> Duration {
        read(ClockId::Monotonic)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the place that owns the clocks")]
    fn wall_ms(&self) -> i64 {
        since_1970(SystemTime::now())
    }

    fn word(&self) -> Word {
        let touched = |marker: &str| Path::new(marker).metadata().and_then(|file| file.modified()).ok();
        Word(MARKERS.map(|marker| touched(marker).map(since_1970)))
    }
}

/// Follows the clocks while the gateway runs. Clones share one estimate.
#[derive(Debug, Clone)]
pub struct Timekeeper {
    clocks: Arc<dyn Clocks>,
    boot: BootId,
    /// Time since the box booted, sleep included, at the start.
    start: Duration,
    /// How long the box had slept before the start.
    slept: Duration,
    estimate: Arc<Mutex<Estimate>>,
}

impl Timekeeper {
    /// Starts counting by this machine's clocks, with no other floor than the build of this program.
    pub fn start() -> Self {
        Self::start_after(BUILT_MS, Arc::new(Machine))
    }

    /// Starts counting: monotonic zero is now, and a random number names this start. `floor_ms`: a wall time that
    /// has certainly passed, in ms since 1970.
    pub fn start_after(floor_ms: i64, clocks: Arc<dyn Clocks>) -> Self {
        let look = Look { mono_ms: 0, wall_ms: clocks.wall_ms(), word: clocks.word() };
        Self {
            // 53 bits, so that the number survives JSON and spreadsheets.
            boot: BootId(fastrand::u64(1..1 << 53)),
            start: clocks.boottime(),
            slept: slept(&*clocks),
            estimate: Arc::new(Mutex::new(Estimate::new(floor_ms, look))),
            clocks,
        }
    }

    /// This start of the box.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Milliseconds since the start, sleep of the box included.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.clocks.boottime().saturating_sub(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// How long the box has slept since the start, in ms.
    pub fn slept_ms(&self) -> u64 {
        u64::try_from(slept(&*self.clocks).saturating_sub(self.slept).as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant at `mono_ms`, for timers; one that has passed is now.
    pub fn instant(&self, mono_ms: u64) -> Instant {
        #[allow(clippy::disallowed_methods, reason = "this is the place that owns the clocks")]
        let now = Instant::now();
        now + Duration::from_millis(mono_ms.saturating_sub(self.now_ms()))
    }

    /// Looks at the wall clock again; the new clock when it changed.
    pub fn observe(&self) -> Option<Clock> {
        let look = Look { mono_ms: self.now_ms(), wall_ms: self.clocks.wall_ms(), word: self.clocks.word() };
        self.lock().observe(look)
    }

    /// Boot, clock and time as of now.
    pub fn stamp(&self) -> Stamp {
        Stamp { boot: self.boot, clock: self.lock().clock(), mono_ms: self.now_ms() }
    }

    /// The newest wall time known to have passed, in ms since 1970: see [`Estimate::passed_ms`].
    pub fn passed_ms(&self) -> i64 {
        self.lock().passed_ms(self.now_ms())
    }

    /// How often and how far the wall clock stepped since the start.
    pub fn steps(&self) -> Steps {
        self.lock().steps()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// How long the box has slept since it booted. The monotonic clock is read first, so this is never too little.
fn slept(clocks: &dyn Clocks) -> Duration {
    let awake = clocks.monotonic();
    clocks.boottime().saturating_sub(awake)
}

fn since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClockState::{HeldOver, Synchronised, Unset};

    /// A time that has certainly passed.
    const T: i64 = BUILT_MS + 1_000_000_000;
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    const NOBODY: Word = Word([None, None]);
    /// A service that spoke once, then a second time: in stories, when this is first seen.
    const SAID: [Word; 2] = [Word([Some(0), None]), Word([Some(1), None])];

    /// Looks at a clock whose floor is T, once a step: (time since the start, wall clock, word) and what is claimed
    /// then: state, and wall time.
    fn story(name: &str, steps: &[(i64, i64, Word, ClockState, i64)]) -> Estimate {
        let mut estimate: Option<Estimate> = None;
        let mut spoken_ms = [None; SAID.len()];
        for (number, &(mono_ms, wall_ms, word, state, claimed_ms)) in steps.iter().enumerate() {
            let word = match SAID.iter().position(|said| *said == word) {
                Some(n) => Word::given(*spoken_ms[n].get_or_insert(wall_ms)),
                None => word,
            };
            let look = Look { mono_ms: mono_ms as u64, wall_ms, word };
            let estimate = match &mut estimate {
                None => estimate.insert(Estimate::new(T, look)),
                Some(estimate) => {
                    let before = estimate.clock();
                    let told = estimate.observe(look);
                    assert_eq!(told.unwrap_or(before), estimate.clock(), "{name}, step {number}");
                    estimate
                }
            };
            let clock = estimate.clock();
            assert_eq!(
                (clock.state, clock.wall_ms(look.mono_ms)),
                (state, claimed_ms),
                "{name}, step {number}"
            );
        }
        estimate.expect("a story has steps")
    }

    #[test]
    fn clocks_that_were_never_set() {
        let booted = story(
            "boot in 1970, network after an hour",
            &[
                (0, 5_000, NOBODY, Unset, T),
                (HOUR, HOUR + 5_000, NOBODY, Unset, T + HOUR),
                (HOUR + 1, T + DAY, SAID[0], Synchronised, T + DAY),
            ],
        );
        assert_eq!(booted.steps(), Steps { count: 1, last_ms: T + DAY - HOUR - 5_001 });
        let early = story(
            "1970 is never synchronised, whatever a file says",
            &[(0, 5_000, SAID[0], Unset, T), (10, 5_010, SAID[1], Unset, T + 10)],
        );
        assert_eq!(early.passed_ms(HOUR as u64), T + HOUR, "time passes even so");
        story(
            "an old marker does not help a clock that went back before the floor; a new word does",
            &[(0, T - DAY, SAID[0], Unset, T), (10, T - DAY + 10, SAID[1], Synchronised, T - DAY + 10)],
        );
        let kept = story(
            "a battery-backed clock is taken as it is",
            &[(0, T + DAY, NOBODY, HeldOver, T + DAY), (10, T + YEAR, NOBODY, HeldOver, T + YEAR)],
        );
        assert_eq!(kept.passed_ms(10), T + 10, "but proves nothing to the next start");
    }

    #[test]
    fn clocks_that_jump() {
        for jump in [YEAR, -DAY, -20 * YEAR, 1000, -1000] {
            let jumped = story(
                "a jump that nobody confirms moves nothing",
                &[
                    (0, T + DAY, SAID[0], Synchronised, T + DAY),
                    (10, T + DAY + 10 + jump, SAID[0], HeldOver, T + DAY + 10),
                    (HOUR, T + DAY + HOUR + jump, SAID[0], HeldOver, T + DAY + HOUR),
                    (HOUR + 1, T + DAY + HOUR + 1, SAID[0], Synchronised, T + DAY + HOUR + 1),
                ],
            );
            assert_eq!(jumped.steps(), Steps { count: 2, last_ms: -jump });
            assert_eq!(jumped.passed_ms(0), T + DAY);
        }
        story(
            "a step that the service confirms is taken",
            &[
                (0, T + DAY, SAID[0], Synchronised, T + DAY),
                (10, T + HOUR, SAID[0], HeldOver, T + DAY + 10),
                (20, T + HOUR + 10, SAID[1], Synchronised, T + HOUR + 10),
            ],
        );
        for jump in [DAY, -DAY] {
            story(
                "a jump right after the service spoke is not what it confirmed",
                &[
                    (0, T + DAY, NOBODY, HeldOver, T + DAY),
                    (HOUR, T + DAY + HOUR, Word::given(T + DAY + HOUR - 900), Synchronised, T + DAY + HOUR),
                    (
                        2 * HOUR,
                        T + DAY + 2 * HOUR + jump,
                        Word::given(T + DAY + 2 * HOUR - 900),
                        HeldOver,
                        T + DAY + 2 * HOUR,
                    ),
                ],
            );
        }
        story(
            "the service is gone: its time is held over, through a jump too",
            &[
                (0, T + DAY, SAID[0], Synchronised, T + DAY),
                (10, T + DAY + 10, NOBODY, HeldOver, T + DAY + 10),
                (20, T + YEAR, NOBODY, HeldOver, T + DAY + 20),
            ],
        );
        story(
            "held over for a day, a crystal's drift later: the same clock again",
            &[
                (0, T + DAY, SAID[0], Synchronised, T + DAY),
                (10, T, SAID[0], HeldOver, T + DAY + 10),
                (DAY, T + 2 * DAY + 8_000, SAID[0], Synchronised, T + 2 * DAY + 8_000),
            ],
        );
    }

    #[test]
    fn drift_and_sleep_are_no_steps() {
        let drift = story(
            "drift is taken once it adds up to a step",
            &[
                (0, T, SAID[0], Synchronised, T),
                (1000, T + 1250, SAID[0], Synchronised, T + 1000),
                (2000, T + 2251, SAID[0], Synchronised, T + 2251),
            ],
        );
        assert_eq!(drift.steps().count, 0);
        let slept = story(
            "sleep is counted by both clocks",
            &[
                (0, T, SAID[0], Synchronised, T),
                (8 * HOUR, T + 8 * HOUR, SAID[0], Synchronised, T + 8 * HOUR),
            ],
        );
        assert_eq!(slept.steps().count, 0);
    }
}
