//! Time with provenance: monotonic time since the start, and what the box knows of the wall clock.
//!
//! Readings carry monotonic times, which never jump. A [`wire::Clock`] says what wall time monotonic zero was;
//! [`Estimate`] (pure) decides when that changed, [`Timekeeper`] reads the real clocks.
//!
//! How far the wall clock may be trusted is told by three signs, the strongest that holds:
//! - synchronised: a time service says so by a marker file (systemd-timesyncd touches
//!   `/run/systemd/timesync/synchronized`). The kernel's own flag needs the `adjtimex` system call, for which no
//!   safe wrapper exists; boxes with another time service therefore say "held over", which is honest but modest.
//! - held over: the year is not before this program was built, so someone set the clock once.
//! - unset: the clock lies before the program was written. Nobody set it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wire::{BootId, Clock, ClockState};

/// The wall clock has stepped when it moved by more than this against the monotonic one, in ms. Less is drift,
/// which a batch of a few seconds does not notice.
pub const STEP_MS: u64 = 250;
/// Start of 2026 in ms since 1970: this program did not exist before, so an earlier clock was never set.
pub const BUILD_YEAR_MS: i64 = 1_767_225_600_000;
/// What a time service leaves behind once the clock is right.
const SYNCHRONISED_MARKER: &str = "/run/systemd/timesync/synchronized";

/// Follows the wall clock and says when it changed. Pure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    clock: Clock,
}

impl Estimate {
    /// A first estimate from one look at both clocks, `mono_ms` since the start and `wall_ms` since 1970.
    pub fn new(mono_ms: u64, wall_ms: i64, synchronised: bool) -> Self {
        Self { clock: Clock { state: state(wall_ms, synchronised), epoch_ms: epoch(mono_ms, wall_ms) } }
    }

    /// Looks again; the new clock when it stepped or its state changed. Call about once a second; more often
    /// does no harm.
    pub fn observe(&mut self, mono_ms: u64, wall_ms: i64, synchronised: bool) -> Option<Clock> {
        let next = Clock { state: state(wall_ms, synchronised), epoch_ms: epoch(mono_ms, wall_ms) };
        let moved = next.epoch_ms.abs_diff(self.clock.epoch_ms);
        if moved <= STEP_MS && next.state == self.clock.state {
            return None;
        }
        self.clock = next;
        Some(next)
    }

    /// The clock as last estimated.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

fn state(wall_ms: i64, synchronised: bool) -> ClockState {
    match (wall_ms >= BUILD_YEAR_MS, synchronised) {
        (false, _) => ClockState::Unset,
        (true, true) => ClockState::Synchronised,
        (true, false) => ClockState::HeldOver,
    }
}

fn epoch(mono_ms: u64, wall_ms: i64) -> i64 {
    wall_ms.saturating_sub(i64::try_from(mono_ms).unwrap_or(i64::MAX))
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

/// The real clocks. Clones share one estimate.
#[derive(Debug, Clone)]
pub struct Timekeeper {
    boot: BootId,
    start: Instant,
    estimate: Arc<Mutex<Estimate>>,
}

impl Timekeeper {
    /// Starts counting: monotonic zero is now, and a random number names this start.
    pub fn start() -> Self {
        Self {
            // 53 bits, so that the number survives JSON and spreadsheets.
            boot: BootId(fastrand::u64(1..1 << 53)),
            #[allow(clippy::disallowed_methods, reason = "this is the place that owns the clocks")]
            start: Instant::now(),
            estimate: Arc::new(Mutex::new(Estimate::new(0, wall_ms(), synchronised()))),
        }
    }

    /// This start of the box.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Milliseconds since the start.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant at `mono_ms`, for timers.
    pub fn instant(&self, mono_ms: u64) -> Instant {
        self.start + std::time::Duration::from_millis(mono_ms)
    }

    /// Looks at the wall clock again; the new clock when it changed.
    pub fn observe(&self) -> Option<Clock> {
        self.lock().observe(self.now_ms(), wall_ms(), synchronised())
    }

    /// Boot, clock and time as of now.
    pub fn stamp(&self) -> Stamp {
        Stamp { boot: self.boot, clock: self.lock().clock(), mono_ms: self.now_ms() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the place that owns the clocks")]
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn synchronised() -> bool {
    Path::new(SYNCHRONISED_MARKER).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = BUILD_YEAR_MS + 1_000_000;

    #[test]
    fn drift_is_not_a_step_and_a_step_is_not_drift() {
        let mut estimate = Estimate::new(0, T, true);
        assert_eq!(estimate.observe(1000, T + 1000, true), None);
        assert_eq!(estimate.observe(2000, T + 2250, true), None, "250 ms is still drift");
        let stepped = Clock { state: ClockState::Synchronised, epoch_ms: T + 251 };
        assert_eq!(estimate.observe(3000, T + 3251, true), Some(stepped));
        assert_eq!(estimate.observe(4000, T + 4251, true), None, "the step is the new estimate");
        assert_eq!(
            estimate.observe(5000, T + 1000, true).map(|c| c.epoch_ms),
            Some(T - 4000),
            "backwards too"
        );
    }

    #[test]
    fn the_state_follows_its_signs() {
        let mut estimate = Estimate::new(0, 5_000, true);
        assert_eq!(
            estimate.clock().state,
            ClockState::Unset,
            "1970 is never synchronised, whatever a file says"
        );
        assert_eq!(estimate.observe(10, T, false).map(|c| c.state), Some(ClockState::HeldOver));
        assert_eq!(estimate.observe(20, T + 10, true).map(|c| c.state), Some(ClockState::Synchronised));
    }
}
