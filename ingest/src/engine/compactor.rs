//! The compactor: merges the pool's small files in the background, no faster than its budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock::now_ms;
use crate::columns::{PoolFolder, REST_MS};

/// Pause when there is nothing to merge, and after a failure.
const IDLE: Duration = Duration::from_secs(60);

/// What merging may use, so that it never stands in the way of taking in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Share of one processor core, in percent, 1 to 100.
    pub core_percent: u64,
    /// Bytes written to disk in a second; about as many are read.
    pub bytes_per_s: u64,
}

impl Budget {
    /// How long to rest, in milliseconds, after `worked_ms` in which `bytes` were written.
    fn rest_ms(self, worked_ms: u64, bytes: u64) -> u64 {
        let percent = self.core_percent.clamp(1, 100);
        let for_core = worked_ms.saturating_mul(100 - percent) / percent;
        let for_disk = (bytes.saturating_mul(1000) / self.bytes_per_s.max(1)).saturating_sub(worked_ms);
        for_core.max(for_disk)
    }
}

/// A log position as it was a while ago.
#[derive(Debug)]
struct Rested {
    position: u64,
    /// A newer one, and when it was seen.
    newer: (u64, u64),
}

impl Rested {
    /// What is true at a start has rested: no question is older.
    fn at_start(position: u64) -> Self {
        Self { position, newer: (position, 0) }
    }

    /// The position as it was [`REST_MS`] before `run_ms` or earlier, given where it is now.
    fn at(&mut self, run_ms: u64, now: u64) -> u64 {
        if run_ms.saturating_sub(self.newer.1) >= REST_MS as u64 {
            self.position = self.newer.0;
            self.newer = (now, run_ms);
        }
        self.position
    }
}

pub(super) struct Compactor {
    pub(super) folder: PoolFolder,
    /// Log position up to which windows are in Parquet by the durable checkpoint. Only files before it are merged, and only
    /// when no question may still go by an earlier one: it would not find a merged file that reaches beyond.
    pub(super) windows_kept: Arc<AtomicU64>,
    pub(super) budget: Budget,
}

impl Compactor {
    /// Starts the thread. It ends, in the middle of a merge too, when the other end of `stop` is dropped.
    pub(super) fn start(self, stop: Receiver<()>) -> std::io::Result<JoinHandle<()>> {
        let mut rested = Rested::at_start(self.windows_kept.load(Ordering::Acquire));
        #[allow(clippy::disallowed_methods)] // the loop that drives: how long it has run
        let start = Instant::now();
        std::thread::Builder::new().name("compactor".into()).spawn(move || {
            let mut kept =
                || rested.at(start.elapsed().as_millis() as u64, self.windows_kept.load(Ordering::Acquire));
            while self.round(&stop, kept()) {}
        })
    }

    /// Merges once what lies before the position `kept`, or waits; whether to go on.
    #[allow(clippy::disallowed_methods)] // the loop that drives: how long a piece of work took
    fn round(&self, stop: &Receiver<()>, kept: u64) -> bool {
        let rest = |pause| stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
        let mut since = Instant::now();
        let mut pace = |bytes| {
            let worked_ms = since.elapsed().as_millis() as u64;
            let go_on = rest(Duration::from_millis(self.budget.rest_ms(worked_ms, bytes)));
            since = Instant::now();
            go_on
        };
        match self.folder.compact(kept, now_ms(), &mut pace, |_| Ok(())) {
            Ok(Some(file)) => {
                tracing::debug!(file = %file.display(), "merged small files of the pool");
                rest(Duration::ZERO)
            }
            Ok(None) => rest(IDLE),
            Err(error) => {
                let go_on = rest(IDLE);
                if go_on {
                    tracing::warn!(%error, "small files of the pool could not be merged; they stay as they are");
                }
                go_on
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_when_it_has_rested() {
        const REST: u64 = REST_MS as u64;
        let mut rested = Rested::at_start(5);
        for (run_ms, now, expected) in [
            (0, 5, 5),
            (1, 7, 5),
            (REST, 8, 5),
            (REST + 1, 9, 5),
            (2 * REST - 1, 10, 5),
            (2 * REST, 11, 8),
            (3 * REST + 7, 12, 11),
            (3 * REST + 8, 13, 11),
        ] {
            assert_eq!(rested.at(run_ms, now), expected, "{run_ms}");
        }
    }

    #[test]
    fn rests_keep_to_the_budget() {
        let budget = Budget { core_percent: 25, bytes_per_s: 1_000_000 };
        for (worked_ms, bytes, expected_ms, why) in [
            (0, 0, 0, "nothing done"),
            (100, 0, 300, "a quarter of a core"),
            (100, 1_000_000, 900, "a megabyte takes its second"),
            (1000, 500_000, 3000, "the dearer of the two"),
        ] {
            assert_eq!(budget.rest_ms(worked_ms, bytes), expected_ms, "{why}");
        }
        assert_eq!(Budget { core_percent: 100, ..budget }.rest_ms(50, 0), 0);
        assert_eq!(Budget { core_percent: 0, bytes_per_s: 0 }.rest_ms(10, 1), 1000 - 10);
    }
}
