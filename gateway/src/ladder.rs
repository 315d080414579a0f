//! What to do when ingest stays silent although data waits: ever stronger remedies. Pure.
//!
//! The first rung is [`crate::ship`]'s: a new connection with a new client, each time patience runs out. When none of
//! them brings a single acknowledgement for long, something below may be stuck for good (a socket, a resolver, a
//! modem's driver): the process ends with [`STUCK`] and its supervisor starts it again, and after some such restarts
//! in a row the box is rebooted, if the installer wants that. A broker that is simply away for days looks the same
//! from here, so the pauses double, and one acknowledgement puts everything back to the start.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// Exit code of a process that wants to be started again (`EX_TEMPFAIL` of sysexits.h).
pub const STUCK: u8 = 75;
/// The pause before a restart doubles at most so often: from half an hour to eight hours.
const MAX_DOUBLINGS: u32 = 4;
/// Name of the file that remembers the rungs over a restart.
const FILE: &str = "ladder.json";

/// When to climb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Silence before the process is started again, in ms; `None`: never.
    pub restart_ms: Option<u64>,
    /// Restarts without an acknowledgement before the box is rebooted; 0: never.
    pub reboot_after: u32,
}

/// How far it has come; kept over restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rungs {
    /// Restarts since the last acknowledgement.
    pub restarts: u32,
    /// Reboots since the last acknowledgement.
    pub reboots: u32,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// End the process with [`STUCK`].
    Restart,
    /// Reboot the box.
    Reboot,
}

/// The machine.
#[derive(Debug)]
pub struct Ladder {
    limits: Limits,
    rungs: Rungs,
    /// Acknowledgements seen.
    acknowledged: u64,
    /// Since when data has waited without one.
    silent_since_ms: Option<u64>,
}

impl Ladder {
    /// Goes on from `rungs`.
    pub fn new(limits: Limits, rungs: Rungs) -> Self {
        Self { limits, rungs, acknowledged: 0, silent_since_ms: None }
    }

    /// How far it has come.
    pub fn rungs(&self) -> Rungs {
        self.rungs
    }

    /// Looks at the total of acknowledgements since the start and whether data waits. A step is told once; keep the
    /// rungs before it is taken, and whenever they change.
    pub fn look(&mut self, now_ms: u64, acknowledged: u64, waits: bool) -> Option<Step> {
        if acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            self.rungs = Rungs::default();
            self.silent_since_ms = None;
        }
        if !waits {
            self.silent_since_ms = None;
            return None;
        }
        let since_ms = *self.silent_since_ms.get_or_insert(now_ms);
        let climbed = self.rungs.restarts.saturating_add(self.rungs.reboots);
        let pause_ms = self.limits.restart_ms?.saturating_mul(1 << climbed.min(MAX_DOUBLINGS));
        if now_ms.saturating_sub(since_ms) < pause_ms {
            return None;
        }
        self.silent_since_ms = Some(now_ms);
        let reboot_after = self.limits.reboot_after;
        if reboot_after > 0 && self.rungs.restarts >= reboot_after {
            self.rungs = Rungs { restarts: 0, reboots: self.rungs.reboots.saturating_add(1) };
            return Some(Step::Reboot);
        }
        self.rungs.restarts = self.rungs.restarts.saturating_add(1);
        Some(Step::Restart)
    }
}

impl Rungs {
    /// What an earlier process left; the start of the ladder when it left nothing readable.
    pub fn load(data: &Path) -> Self {
        fs::read(data.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Leaves it to the next process.
    ///
    /// # Errors
    /// Of the file system.
    pub fn save(self, data: &Path) -> io::Result<()> {
        let new: PathBuf = data.join("ladder.new");
        fs::write(&new, serde_json::to_vec(&self)?)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(new, data.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn ladder(restart: Option<u64>, reboot_after: u32) -> Ladder {
        Ladder::new(
            Limits { restart_ms: restart.map(|minutes| minutes * MINUTE), reboot_after },
            Rungs::default(),
        )
    }

    /// Looks once a minute for two days; every step with its minute. Each restart or reboot begins a new process.
    fn silent_days(mut ladder: Ladder) -> String {
        let mut steps = Vec::new();
        let mut start = 0;
        for minute in 0..2880 {
            if let Some(step) = ladder.look((minute - start) * MINUTE, 0, true) {
                steps.push(format!("{step:?}@{minute}").to_lowercase());
                ladder = Ladder::new(ladder.limits.clone(), ladder.rungs());
                ladder.look(0, 0, true);
                start = minute;
            }
        }
        steps.join(" ")
    }

    #[test]
    fn silence_climbs_ever_more_slowly() {
        assert_eq!(
            silent_days(ladder(Some(30), 0)),
            "restart@30 restart@90 restart@210 restart@450 restart@930 restart@1410 restart@1890 restart@2370 restart@2850"
        );
        assert_eq!(
            silent_days(ladder(Some(30), 2)),
            "restart@30 restart@90 reboot@210 restart@270 restart@390 reboot@630 restart@750 restart@990 reboot@1470 restart@1710 restart@2190 reboot@2670"
        );
        assert_eq!(silent_days(ladder(None, 2)), "");
    }

    #[test]
    fn an_acknowledgement_puts_it_back_and_an_empty_buffer_is_no_silence() {
        let mut ladder = ladder(Some(30), 0);
        assert_eq!(ladder.look(0, 0, true), None);
        assert_eq!(ladder.look(30 * MINUTE, 0, true), Some(Step::Restart));
        assert_eq!(ladder.look(30 * MINUTE, 0, true), None, "once");
        assert_eq!(ladder.rungs().restarts, 1);
        assert_eq!(ladder.look(40 * MINUTE, 1, true), None);
        assert_eq!(ladder.rungs(), Rungs::default());
        assert_eq!(ladder.look(50 * MINUTE, 1, false), None);
        assert_eq!(ladder.look(79 * MINUTE, 1, true), None, "nothing waited before");
        assert_eq!(ladder.look(108 * MINUTE, 1, true), None);
        assert_eq!(ladder.look(109 * MINUTE, 1, true), Some(Step::Restart));
    }

    #[test]
    fn the_rungs_outlive_the_process() {
        let folder = tempfile::TempDir::new().expect("a folder");
        assert_eq!(Rungs::load(folder.path()), Rungs::default());
        let rungs = Rungs { restarts: 2, reboots: 1 };
        rungs.save(folder.path()).expect("a folder that can be written");
        assert_eq!(Rungs::load(folder.path()), rungs);
        fs::write(folder.path().join(FILE), b"{").expect("a folder that can be written");
        assert_eq!(Rungs::load(folder.path()), Rungs::default(), "a torn file is no reason not to start");
    }
}
