//! A link to hardware that is opened again after it failed.
//!
//! A bus hangs, an adapter is pulled, a driver is reloaded: all normal in a street. A link that failed
//! [`REOPEN_AFTER`] times in a row is closed and opened again, later and later while that does not help.

/// Failures in a row, with no success between, after which a link is opened again. One absent chip among others
/// that answer never gets there.
pub const REOPEN_AFTER: u32 = 5;
/// Wait before the first new attempt.
pub const FIRST_PAUSE_MS: u64 = 1_000;
/// Longest wait: a cable put back in is noticed within half a minute.
pub const LONGEST_PAUSE_MS: u64 = 30_000;

/// Something that can be opened: `/dev/i2c-1`, a serial line, the pins, or a simulated one.
pub trait Port: Send {
    /// What opening gives.
    type Open: Send;

    /// Opens it, also for the second time.
    ///
    /// # Errors
    /// Why not, and what to do, for a person.
    fn open(&mut self) -> Result<Self::Open, String>;

    /// Tells a simulated port the time. Real ones have their own.
    fn at(&mut self, _now_ms: u64) {}
}

/// A port, what it opened, and how it is doing.
pub struct Recovering<P: Port> {
    port: P,
    open: Option<P::Open>,
    failures: u32,
    reopen_at_ms: u64,
    pause_ms: u64,
    recoveries: u64,
}

impl<P: Port> Recovering<P> {
    /// Opens `port` for the first time.
    ///
    /// # Errors
    /// The port's own.
    pub fn new(mut port: P) -> Result<Self, String> {
        let open = Some(port.open()?);
        Ok(Self { port, open, failures: 0, reopen_at_ms: 0, pause_ms: FIRST_PAUSE_MS, recoveries: 0 })
    }

    /// What is open at `now_ms`; `None` while the pause after a failure lasts, or when opening failed again.
    pub fn get(&mut self, now_ms: u64) -> Option<&mut P::Open> {
        self.port.at(now_ms);
        if self.open.is_none() && now_ms >= self.reopen_at_ms {
            match self.port.open() {
                Ok(open) => {
                    self.recoveries += 1;
                    tracing::info!(recoveries = self.recoveries, "link opened again");
                    self.open = Some(open);
                }
                Err(why) => {
                    tracing::debug!(%why, "link cannot be opened");
                    self.close(now_ms);
                }
            }
        }
        self.open.as_mut()
    }

    /// The last use of the link succeeded.
    pub fn worked(&mut self) {
        self.failures = 0;
        self.pause_ms = FIRST_PAUSE_MS;
    }

    /// The last use of the link failed at `now_ms`.
    pub fn failed(&mut self, now_ms: u64) {
        self.failures += 1;
        if self.failures >= REOPEN_AFTER && self.open.is_some() {
            tracing::warn!(
                failures = self.failures,
                pause_ms = self.pause_ms,
                "link failed: it will be opened again"
            );
            self.close(now_ms);
        }
    }

    /// How often it was opened again.
    pub fn recoveries(&self) -> u64 {
        self.recoveries
    }

    fn close(&mut self, now_ms: u64) {
        self.open = None;
        self.failures = 0;
        self.reopen_at_ms = now_ms + self.pause_ms;
        self.pause_ms = (self.pause_ms * 2).min(LONGEST_PAUSE_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Flaky {
        refuse: u32,
    }

    impl Port for Flaky {
        type Open = ();
        fn open(&mut self) -> Result<(), String> {
            if self.refuse == 0 {
                return Ok(());
            }
            self.refuse -= 1;
            Err("unplugged".into())
        }
    }

    #[test]
    fn a_link_is_opened_again_later_and_later() {
        let mut link = Recovering::new(Flaky { refuse: 0 }).unwrap();
        for _ in 0..REOPEN_AFTER {
            assert!(link.get(0).is_some());
            link.failed(0);
        }
        link.port.refuse = 1;
        assert!(link.get(999).is_none(), "the pause lasts");
        assert!(link.get(1_000).is_none(), "refused once");
        assert!(link.get(2_999).is_none(), "the second pause is longer");
        assert!(link.get(3_000).is_some());
        assert_eq!(link.recoveries(), 1);
    }

    #[test]
    fn one_success_forgives() {
        let mut link = Recovering::new(Flaky { refuse: 0 }).unwrap();
        for _ in 0..10 {
            for _ in 1..REOPEN_AFTER {
                link.failed(0);
            }
            link.worked();
        }
        assert!(link.get(0).is_some());
        assert_eq!(link.recoveries(), 0);
    }

    #[test]
    fn a_port_that_never_opened_is_an_error() {
        assert_eq!(Recovering::new(Flaky { refuse: 1 }).err().as_deref(), Some("unplugged"));
    }
}
