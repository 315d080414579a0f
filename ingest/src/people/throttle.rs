//! How long somebody waits who has failed to log in. Pure.

use std::collections::HashMap;
use std::hash::Hash;

/// After this time without an attempt, failures are forgotten.
const FORGOTTEN_MS: i64 = 3_600_000;
/// Most names or addresses remembered, some hundred kilobytes. Those with the fewest failures make room.
const MOST: usize = 4096;

/// Counts failures by name or by address.
#[derive(Debug)]
pub(super) struct Throttle<K> {
    /// Failures without a pause.
    free: u32,
    longest_ms: i64,
    entries: HashMap<K, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    last_ms: i64,
}

impl Entry {
    fn pause_ms(self, free: u32, longest_ms: i64) -> i64 {
        let Some(over) = self.failures.checked_sub(free) else { return 0 };
        // 1 s, 2 s, 4 s; the shift is bounded so that it cannot run over.
        (1000_i64 << over.min(20)).min(longest_ms)
    }
}

impl<K: Hash + Eq + Clone> Throttle<K> {
    /// Nobody has failed; the first `free` failures cost nothing, each one after them twice the pause, up to the longest.
    pub(super) fn new(free: u32, longest_ms: i64) -> Self {
        Self { free, longest_ms, entries: HashMap::new() }
    }

    /// Asks for an attempt. It counts as a failure until [`Throttle::succeeded`], so that many at the same time get
    /// no further than one after the other.
    ///
    /// # Errors
    /// Milliseconds to wait. Asking again before costs nothing.
    pub(super) fn attempt(&mut self, who: &K, now_ms: i64) -> Result<(), i64> {
        if !self.entries.contains_key(who) {
            self.make_room(now_ms);
        }
        let (free, longest_ms) = (self.free, self.longest_ms);
        let entry = self.entries.entry(who.clone()).or_insert(Entry { failures: 0, last_ms: now_ms });
        if now_ms - entry.last_ms >= FORGOTTEN_MS {
            entry.failures = 0;
        }
        // A clock that was set back leaves no pause that is longer than any.
        entry.last_ms = entry.last_ms.min(now_ms);
        let wait_ms = entry.last_ms + entry.pause_ms(free, longest_ms) - now_ms;
        if wait_ms > 0 {
            return Err(wait_ms);
        }
        *entry = Entry { failures: entry.failures.saturating_add(1), last_ms: now_ms };
        Ok(())
    }

    /// The attempt was good: all is forgotten.
    pub(super) fn succeeded(&mut self, who: &K) {
        self.entries.remove(who);
    }

    /// This attempt does not count, which says nothing about the others.
    pub(super) fn excused(&mut self, who: &K) {
        if let Some(entry) = self.entries.get_mut(who) {
            entry.failures = entry.failures.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now_ms: i64) {
        if self.entries.len() < MOST {
            return;
        }
        self.entries.retain(|_, entry| now_ms - entry.last_ms < FORGOTTEN_MS);
        while self.entries.len() >= MOST {
            let least = self.entries.iter().min_by_key(|(_, entry)| (entry.failures, entry.last_ms));
            let Some(least) = least.map(|(who, _)| who.clone()) else { return };
            self.entries.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut throttle = Throttle::new(3, 300_000);
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for _ in 0..15 {
            if let Err(wait_ms) = throttle.attempt(&"li", now_ms) {
                assert_eq!(throttle.attempt(&"li", now_ms), Err(wait_ms), "asking costs nothing");
                assert!(throttle.attempt(&"li", now_ms + wait_ms - 1).is_err());
                now_ms += wait_ms;
                pauses.push(wait_ms / 1000);
                assert_eq!(throttle.attempt(&"li", now_ms), Ok(()));
            }
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(throttle.attempt(&"wang", now_ms), Ok(()), "others do not wait");
        assert_eq!(throttle.attempt(&"li", now_ms + FORGOTTEN_MS), Ok(()));
        assert_eq!(throttle.attempt(&"li", now_ms + FORGOTTEN_MS), Ok(()), "forgotten");
    }

    #[test]
    fn success_forgets_a_name_and_excuses_an_address() {
        let mut throttle = Throttle::new(2, 300_000);
        for _ in 0..2 {
            throttle.attempt(&1, 0).unwrap();
        }
        assert!(throttle.attempt(&1, 0).is_err());
        throttle.excused(&1);
        assert_eq!(throttle.attempt(&1, 0), Ok(()));
        assert!(throttle.attempt(&1, 0).is_err());
        throttle.succeeded(&1);
        assert_eq!(throttle.attempt(&1, 0), Ok(()));
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let mut throttle = Throttle::new(1, 300_000);
        throttle.attempt(&1, 1_000_000_000).unwrap();
        assert_eq!(throttle.attempt(&1, 0), Err(1000));
        assert_eq!(throttle.attempt(&1, 1000), Ok(()));
    }

    #[test]
    fn a_flood_of_names_does_not_wash_out_the_one_under_attack() {
        let mut throttle = Throttle::new(1, 300_000);
        for now_ms in [0, 2_000] {
            throttle.attempt(&0, now_ms).unwrap();
        }
        for name in 1..=2 * MOST {
            throttle.attempt(&name, 2_500).unwrap();
            assert!(throttle.entries.len() <= MOST);
        }
        assert!(throttle.attempt(&0, 2_600).is_err());
    }
}
