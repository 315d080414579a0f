//! The same message again and again is told a few times, then counted.
//!
//! A bus that fails each second, or a disk that is full for a week, must not wear out the card with words, nor hide
//! another message. Messages are the same when they come from the same line of the program.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

/// How often what was not told is summed up, in ms; then a message may be told again.
pub const WINDOW_MS: u64 = 60_000;
/// How often one message is told in a window: a handful, since several buses may say the same.
pub const BURST: u64 = 5;
/// Longest text remembered of a message, in bytes.
const MAX_TEXT: usize = 200;

/// Counts messages. Pure. Memory is bounded by the number of places that speak.
#[derive(Debug)]
pub struct Counts<K> {
    window_ms: u64,
    seen: HashMap<K, (u64, String)>,
}

/// A message that was told and then only counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// Its text, as of the last time.
    pub text: String,
    /// How often it was not told.
    pub times: u64,
}

impl<K: Hash + Eq> Default for Counts<K> {
    fn default() -> Self {
        Self { window_ms: 0, seen: HashMap::new() }
    }
}

impl<K: Hash + Eq> Counts<K> {
    /// Whether a message is to be told. `text` is asked only for one that is not.
    pub fn admit(&mut self, message: K, text: impl FnOnce() -> String) -> bool {
        let (count, last) = self.seen.entry(message).or_default();
        *count += 1;
        if *count > BURST {
            *last = text();
        }
        *count <= BURST
    }

    /// What was not told since the last window ended, if this one has ended at `now_ms`; the most frequent first.
    pub fn sum_up(&mut self, now_ms: u64) -> Vec<Again> {
        if now_ms.saturating_sub(self.window_ms) < WINDOW_MS {
            return Vec::new();
        }
        self.window_ms = now_ms;
        let again = |(count, text): (u64, String)| Again { text, times: count.saturating_sub(BURST) };
        let mut all: Vec<Again> =
            self.seen.drain().map(|(_, seen)| again(seen)).filter(|again| again.times > 0).collect();
        all.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.text.cmp(&b.text)));
        all
    }
}

/// The filter of the log. Clones share one count.
#[derive(Debug, Clone)]
pub struct Quiet {
    start: Instant,
    counts: Arc<Mutex<Counts<Identifier>>>,
}

impl Default for Quiet {
    fn default() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this drives the log")]
        let start = Instant::now();
        Self { start, counts: Arc::default() }
    }
}

impl Quiet {
    /// Sums up what was not told, for ever.
    pub async fn sum_up(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(WINDOW_MS)).await;
            let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let all = self.counts.lock().unwrap_or_else(PoisonError::into_inner).sum_up(now_ms);
            for Again { text, times } in all {
                tracing::warn!(times, text, "a message came again in the last minute and was only counted");
            }
        }
    }
}

impl<S> Filter<S> for Quiet {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        // Who asks for more than the usual wants all of it.
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let text = || {
            let mut words = Words(String::new());
            event.record(&mut words);
            words.0
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.admit(event.metadata().callsite(), text)
    }
}

/// Gathers message and fields of an event, as far as [`MAX_TEXT`] goes.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        let name = if name == "message" { String::new() } else { format!("{name}=") };
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing into a String has no way to fail.
        let _ = write!(self.0, "{space}{name}{value:?}");
        let end = (0..=MAX_TEXT).rev().find(|at| self.0.is_char_boundary(*at)).unwrap_or(0);
        self.0.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_a_few_times_then_counted() {
        let mut counts = Counts::default();
        let say = |counts: &mut Counts<&str>, who: &'static str, times: u64| {
            (0..times).filter(|n| counts.admit(who, || format!("{who} {n}"))).count() as u64
        };
        assert_eq!(say(&mut counts, "the disk is full", 100), BURST);
        assert_eq!(say(&mut counts, "bus 1 fails", 2), 2, "another message is heard in between");
        assert_eq!(say(&mut counts, "bus 2 fails", BURST + 1), BURST);
        assert_eq!(counts.sum_up(WINDOW_MS - 1), [], "not yet");
        let again = |text: &str, times| Again { text: text.into(), times };
        let expected = [again("the disk is full 99", 100 - BURST), again("bus 2 fails 5", 1)];
        assert_eq!(counts.sum_up(WINDOW_MS), expected);
        assert_eq!(say(&mut counts, "the disk is full", 1), 1, "a new window tells again");
        assert_eq!(counts.sum_up(2 * WINDOW_MS), []);
    }

    #[test]
    fn the_log_is_quiet_by_line_of_the_program() {
        use tracing_subscriber::prelude::*;

        #[derive(Clone, Default)]
        struct Paper(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Paper {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().expect("not poisoned").extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let (paper, quiet) = (Paper::default(), Quiet::default());
        let pen = paper.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || pen.clone());
        let log = tracing_subscriber::registry().with(layer.with_filter(quiet.clone()));
        tracing::subscriber::with_default(log, || {
            for number in 0..50 {
                tracing::warn!(bus = "i2c-1", number, "it fails");
            }
            tracing::warn!("something else");
            (0..50).for_each(|_| tracing::debug!("details"));
        });
        let text = String::from_utf8(paper.0.lock().expect("not poisoned").clone()).expect("text");
        assert_eq!(text.matches("it fails").count() as u64, BURST, "{text}");
        assert_eq!(text.matches("something else").count(), 1, "{text}");
        assert_eq!(text.matches("details").count(), 50, "asked for, so told");
        let again = quiet.counts.lock().expect("not poisoned").sum_up(WINDOW_MS);
        let [Again { text, times }] = again.as_slice() else { panic!("{again:?}") };
        assert_eq!((text.as_str(), *times), ("it fails bus=\"i2c-1\" number=49", 50 - BURST));
    }
}
