//! Sampling: one thread for each bus, so that a stuck bus never stalls another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use boards::{Bus, Sample};

use crate::clock::Timekeeper;

/// Polls whose samples may wait for the judge. When it is full, sampling waits: the drivers keep counting tips and
/// contacts meanwhile.
pub const POLLS: usize = 256;
/// Shortest pause between two polls, in ms: a bus that is always due must not take a whole core.
const MIN_PAUSE_MS: u64 = 1;
/// Pause after a driver panicked, in ms.
const PANIC_PAUSE_MS: u64 = 1_000;

/// Figures of one bus.
#[derive(Debug)]
pub struct BusFigures {
    /// The bus as configured.
    pub name: String,
    /// Samples taken since the start.
    pub samples: AtomicU64,
    /// Samples without a value since the start.
    pub errors: AtomicU64,
}

/// Tells all sampling threads to end, and lets them sleep until then.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Ends all sleeps, now and in future.
    pub fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether [`Stop::stop`] was called.
    pub fn stopped(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps, but not beyond the stop; whether it came.
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = self
            .0
            .1
            .wait_timeout_while(guard, time, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        *stopped
    }
}

/// Starts a thread for each bus. They end at the stop, or when nobody takes their samples any more.
///
/// # Errors
/// The operating system's, when it has no room for a thread.
pub fn start(
    buses: Vec<Box<dyn Bus>>,
    time: &Timekeeper,
    stop: &Stop,
    samples: &SyncSender<Vec<Sample>>,
) -> std::io::Result<Vec<Arc<BusFigures>>> {
    let mut all = Vec::with_capacity(buses.len());
    for (number, bus) in buses.into_iter().enumerate() {
        let figures = Arc::new(BusFigures {
            name: bus.name().to_owned(),
            samples: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        });
        all.push(Arc::clone(&figures));
        let (time, stop, samples) = (time.clone(), stop.clone(), samples.clone());
        std::thread::Builder::new()
            .name(format!("bus-{number}"))
            .stack_size(512 << 10)
            .spawn(move || drive(bus, &time, &stop, &samples, &figures))?;
    }
    Ok(all)
}

fn drive(
    mut bus: Box<dyn Bus>,
    time: &Timekeeper,
    stop: &Stop,
    samples: &SyncSender<Vec<Sample>>,
    figures: &BusFigures,
) {
    loop {
        let pause = bus.next_due_ms().saturating_sub(time.now_ms()).max(MIN_PAUSE_MS);
        if stop.sleep(Duration::from_millis(pause)) {
            return;
        }
        let mut taken = Vec::new();
        let polled = catch_unwind(AssertUnwindSafe(|| bus.poll(time.now_ms(), &mut taken)));
        if polled.is_err() {
            // The samples it took before are good all the same.
            figures.errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                bus = figures.name,
                "a driver panicked: the bus goes on in a second; please report this"
            );
            if stop.sleep(Duration::from_millis(PANIC_PAUSE_MS)) {
                return;
            }
        }
        if taken.is_empty() {
            continue;
        }
        let errors = taken.iter().filter(|sample| sample.value.is_err()).count();
        figures.samples.fetch_add(taken.len() as u64, Ordering::Relaxed);
        figures.errors.fetch_add(errors as u64, Ordering::Relaxed);
        if samples.send(taken).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Gives its count at each poll and panics at the third.
    struct Scripted(u64);

    impl Bus for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }
        fn next_due_ms(&self) -> u64 {
            self.0 * 5
        }
        fn poll(&mut self, now_ms: u64, samples: &mut Vec<Sample>) {
            self.0 += 1;
            samples.push(Sample { sensor: 0, mono_ms: now_ms, value: Ok(self.0 as f64) });
            assert!(self.0 != 3, "a driver's mistake");
        }
    }

    /// Never comes back from a poll before the end.
    struct Stuck(Stop);

    impl Bus for Stuck {
        fn name(&self) -> &str {
            "stuck"
        }
        fn next_due_ms(&self) -> u64 {
            0
        }
        fn poll(&mut self, _: u64, _: &mut Vec<Sample>) {
            self.0.sleep(Duration::from_secs(60));
        }
    }

    #[test]
    fn a_panic_and_a_stuck_neighbour_do_not_end_a_bus() {
        let (sender, samples) = sync_channel(POLLS);
        let stop = Stop::default();
        let buses: Vec<Box<dyn Bus>> = vec![Box::new(Stuck(stop.clone())), Box::new(Scripted(0))];
        let figures = start(buses, &Timekeeper::start(), &stop, &sender).expect("threads");
        drop(sender);
        for expected in 1..=5 {
            let taken = samples.recv_timeout(Duration::from_secs(10)).expect("the bus goes on");
            assert_eq!(taken[0].value, Ok(f64::from(expected)));
        }
        assert_eq!(figures[1].errors.load(Ordering::Relaxed), 1);
        stop.stop();
        assert!(stop.stopped());
        while samples.recv_timeout(Duration::from_secs(10)).is_ok() {}
        assert_eq!(
            samples.try_recv(),
            Err(std::sync::mpsc::TryRecvError::Disconnected),
            "every thread has ended"
        );
    }
}
