//! A dry contact: a door, a call point, a manhole cover. Its springs bounce; this waits until they are done.
//!
//! Pure: levels in with their time, changes out.

/// A contact that counts as changed when it has been stable for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    stable_ms: u64,
    /// What the last level said, and since when it says so.
    seen: Option<(bool, u64)>,
    /// What was last told.
    state: Option<bool>,
}

impl Contact {
    /// A contact that must keep a level for `stable_ms` milliseconds to be believed, the first level too.
    pub fn new(stable_ms: u32) -> Self {
        Self { stable_ms: stable_ms.into(), seen: None, state: None }
    }

    /// Takes the level at `now_ms`; `Some` when the contact has changed, or is known for the first time.
    ///
    /// Call it at each edge, and again with the same level at or after [`Contact::settles_at_ms`]. Calls too many
    /// are harmless. Time must not run backwards.
    pub fn level(&mut self, now_ms: u64, level: bool) -> Option<bool> {
        // What was seen until now first: it may have been stable long enough before this edge.
        let mut settled = self.settle(now_ms);
        if self.seen.is_none_or(|(seen, _)| seen != level) {
            self.seen = Some((level, now_ms));
            settled = settled.or_else(|| self.settle(now_ms));
        }
        settled
    }

    fn settle(&mut self, now_ms: u64) -> Option<bool> {
        let (seen, _) = self.seen?;
        if self.settles_at_ms()? > now_ms {
            return None;
        }
        self.state = Some(seen);
        self.state
    }

    /// What it is; `None` before it has been stable once.
    pub fn state(&self) -> Option<bool> {
        self.state
    }

    /// When the level seen last will be believed, if it stays; `None` when there is nothing to wait for.
    pub fn settles_at_ms(&self) -> Option<u64> {
        let (level, since_ms) = self.seen?;
        (self.state != Some(level)).then(|| since_ms + self.stable_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Contact {
        let mut contact = Contact::new(50);
        assert_eq!(contact.level(0, true), None);
        assert_eq!(contact.level(50, true), Some(true));
        contact
    }

    #[test]
    fn the_first_level_is_believed_when_it_is_stable() {
        assert_eq!(closed().state(), Some(true));
        assert_eq!(Contact::new(0).level(7, false), Some(false), "no debounce, no wait");
    }

    #[test]
    fn bouncing_is_one_change() {
        let mut contact = closed();
        let mut changes = 0;
        for (now, level) in [(100, false), (102, true), (103, false), (109, true), (110, false), (159, false)]
        {
            changes += usize::from(contact.level(now, level).is_some());
        }
        assert_eq!(changes, 0, "49 ms of rest are not 50");
        assert_eq!(contact.settles_at_ms(), Some(160));
        assert_eq!(contact.level(160, false), Some(false));
        assert_eq!(contact.level(200, false), None, "told once");
        assert_eq!(contact.settles_at_ms(), None);
    }

    #[test]
    fn a_change_that_was_over_before_anybody_looked_is_told() {
        let mut contact = closed();
        assert_eq!(contact.level(1_000, false), None);
        assert_eq!(contact.level(1_900, true), Some(false), "it was open for 900 ms");
        assert_eq!(contact.level(1_950, true), Some(true));
    }

    #[test]
    fn a_short_disturbance_is_no_change() {
        let mut contact = closed();
        assert_eq!(contact.level(100, false), None);
        assert_eq!(contact.level(120, true), None);
        assert_eq!(contact.level(500, true), None);
        assert_eq!(contact.state(), Some(true));
    }
}
