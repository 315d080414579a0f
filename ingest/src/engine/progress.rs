//! How far a start has come, on stderr: a bar on a terminal, lines in the log elsewhere.

use std::io::{IsTerminal, Write, stderr};

/// Less than this is done before anybody wonders, in bytes.
const WORTH_SHOWING: u64 = 64 << 20;
/// A line of the log at every so many percent.
const LINE_PERCENT: u64 = 20;
/// Characters of the bar.
const BAR: usize = 30;

/// One task of a start.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    percent: u64,
    terminal: bool,
}

impl Progress {
    /// A task of `total` bytes, named in Chinese and English.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        Self { what, total, done: 0, percent: 0, terminal: stderr().is_terminal() }
    }

    /// So many bytes more are done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        let percent = (self.done.min(self.total) * 100).checked_div(self.total).unwrap_or(100);
        if self.total < WORTH_SHOWING || percent == self.percent {
            return;
        }
        let line = percent / LINE_PERCENT > self.percent / LINE_PERCENT;
        self.percent = percent;
        if self.terminal {
            let end = if percent == 100 { "\n" } else { "" };
            // A terminal that went away is no reason not to start.
            let _ = write!(stderr(), "\r{}{end}", bar(self.what, percent));
        } else if line {
            tracing::info!(percent, "{}", self.what);
        }
    }
}

fn bar(what: &str, percent: u64) -> String {
    let full = percent as usize * BAR / 100;
    format!("{what} [{}{}] {percent:3} %", "█".repeat(full), "·".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_and_keeps_its_length() {
        assert_eq!(bar("x", 0), format!("x [{}]   0 %", "·".repeat(30)));
        assert_eq!(bar("x", 50), format!("x [{}{}]  50 %", "█".repeat(15), "·".repeat(15)));
        assert_eq!(bar("x", 100), format!("x [{}] 100 %", "█".repeat(30)));
    }
}
