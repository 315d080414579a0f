//! What is known of a file without opening it. A city writes a file per district every second or two, and most hold
//! nothing of one sensor: a question must not open them all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

use super::write::Run;
use super::{FileError, PoolFolder, ReadingFilter, WindowFilter, read};
use crate::pool::aggregate::Aggregate;
use crate::pool::windows::WindowKey;
use wire::Quality;

/// Most bytes of cards in memory: some 40,000 files. Those not asked for longest go first and are read again.
const MAX_BYTES: usize = 24 << 20;
/// Most ranges of sensors on a card. A gateway's sensors are numbered in a few runs.
const MAX_RANGES: usize = 64;
/// What a card costs beside its path and ranges: entry, pointers, allocations.
const CARD_BYTES: usize = 160;

/// What a file may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    /// Earliest and latest time: of readings, or at which windows start. `None` when it is not known.
    pub(super) times: Option<(i64, i64)>,
    /// Numbers of sensors, ascending; empty for windows.
    pub(super) sensors: Box<[(u32, u32)]>,
}

impl Card {
    /// The card of a file of readings.
    pub(super) fn of_readings(runs: &[Run<'_>]) -> Self {
        let times = runs.iter().flat_map(|run| run.rows).map(|row| row.at_ms);
        let times = times.clone().min().zip(times.max());
        Self { times, sensors: ranges(runs.iter().map(|run| (run.rows[0].sensor, run.rows[0].sensor))) }
    }

    /// The card of a file of windows.
    pub(super) fn of_windows<'a>(keys: impl Iterator<Item = &'a WindowKey> + Clone) -> Self {
        let starts = keys.map(|key| key.start_ms);
        Self { times: starts.clone().min().zip(starts.max()), sensors: Box::default() }
    }

    fn may_be_in(&self, from_ms: i64, to_ms: i64) -> bool {
        self.times.is_none_or(|(first, last)| first < to_ms && from_ms <= last)
    }

    fn may_hold(&self, sensor: u32) -> bool {
        let next = self.sensors.partition_point(|range| range.1 < sensor);
        self.sensors.get(next).is_some_and(|range| range.0 <= sensor)
    }
}

/// Ascending ranges, those that are nearest to each other joined until there are at most [`MAX_RANGES`].
pub(super) fn ranges(ascending: impl Iterator<Item = (u32, u32)>) -> Box<[(u32, u32)]> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ascending {
        match found.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => found.push((first, last)),
        }
    }
    if found.len() > MAX_RANGES {
        let gap = |pair: &[(u32, u32)]| pair[1].0 - pair[0].1;
        let mut widest: Vec<(u32, usize)> =
            found.windows(2).enumerate().map(|(at, pair)| (gap(pair), at + 1)).collect();
        widest.select_nth_unstable_by(MAX_RANGES - 1, |a, b| b.cmp(a));
        let mut starts: Vec<usize> = widest[..MAX_RANGES - 1].iter().map(|gap| gap.1).collect();
        starts.extend([0, found.len()]);
        starts.sort_unstable();
        found = starts.windows(2).map(|part| (found[part[0]].0, found[part[1] - 1].1)).collect();
    }
    found.into()
}

/// Cards by path, in two generations: when the young ones have filled half the room, the old ones go.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<PathBuf, Arc<Card>, RandomState>,
    old: HashMap<PathBuf, Arc<Card>, RandomState>,
    /// Of the young ones.
    bytes: usize,
}

impl Generations {
    fn get(&mut self, path: &Path) -> Option<Arc<Card>> {
        if let Some(card) = self.young.get(path) {
            return Some(Arc::clone(card));
        }
        let (path, card) = self.old.remove_entry(path)?;
        self.put(path, Arc::clone(&card));
        Some(card)
    }

    fn put(&mut self, path: PathBuf, card: Arc<Card>) {
        self.bytes += CARD_BYTES + path.as_os_str().len() + size_of_val(&*card.sensors);
        self.young.insert(path, card);
        if self.bytes > MAX_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
    }
}

/// The cards of a folder's files. A file never changes under its name.
#[derive(Debug, Clone, Default)]
pub(super) struct Cards(Arc<Mutex<Generations>>);

impl Cards {
    /// Takes down the card of a file.
    pub(super) fn put(&self, path: PathBuf, card: Card) -> Arc<Card> {
        let card = Arc::new(card);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(path, Arc::clone(&card));
        card
    }

    fn get(&self, path: &Path) -> Option<Arc<Card>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path)
    }
}

impl PoolFolder {
    /// As [`read::read_readings`], and does not open a file that is known to hold nothing of it. Returns how many row
    /// groups were unpacked.
    ///
    /// # Errors
    /// As [`read::read_readings`].
    pub fn read_readings(
        &self,
        path: &Path,
        filter: &ReadingFilter,
        visit: impl FnMut(i64, Option<f64>, Quality),
    ) -> Result<usize, FileError> {
        let card = match self.cards.get(path) {
            Some(card) => card,
            None => self.cards.put(path.to_owned(), read::reading_card(path)?),
        };
        if card.may_be_in(filter.from_ms, filter.to_ms) && card.may_hold(filter.sensor) {
            read::read_readings(path, filter, visit)
        } else {
            Ok(0)
        }
    }

    /// The same for windows: [`read::read_windows`].
    ///
    /// # Errors
    /// As [`read::read_windows`].
    pub fn read_windows(
        &self,
        path: &Path,
        filter: &WindowFilter,
        visit: impl FnMut(WindowKey, Aggregate),
    ) -> Result<usize, FileError> {
        let card = match self.cards.get(path) {
            Some(card) => card,
            None => self.cards.put(path.to_owned(), read::window_card(path)?),
        };
        if card.may_be_in(filter.from_ms, filter.to_ms) {
            read::read_windows(path, filter, visit)
        } else {
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl Iterator<Item = u32>) -> Box<[(u32, u32)]> {
        ranges(numbers.map(|number| (number, number)))
    }

    #[test]
    fn numbers_become_ranges() {
        assert_eq!(*of([3, 3, 4, 5, 9, 10, u32::MAX].into_iter()), [(3, 5), (9, 10), (u32::MAX, u32::MAX)]);
        assert_eq!(*of(std::iter::empty()), []);
        // 100 sensors with gaps, of which the widest remain.
        let numbers = (0..100).map(|n| n * 10 + if n >= 50 { 1_000 } else { 0 });
        let found = of(numbers.clone());
        assert_eq!(found.len(), MAX_RANGES);
        assert!(found.iter().any(|range| range.1 == 490) && found.iter().any(|range| range.0 == 1_500));
        let card = Card { times: Some((5, 9)), sensors: found };
        assert!(numbers.clone().all(|number| card.may_hold(number)), "never a sensor that is there");
        assert!(!card.may_hold(1_000) && !card.may_hold(5_000));
        assert!(
            card.may_be_in(9, 10) && card.may_be_in(0, 6) && !card.may_be_in(0, 5) && !card.may_be_in(10, 20)
        );
    }

    #[test]
    fn cards_asked_for_stay_and_all_are_bounded() {
        let card = || Arc::new(Card { times: None, sensors: vec![(0, 0); 20_000].into() });
        let mut cards = Generations::default();
        let path = |n: usize| PathBuf::from(format!("{n}"));
        for n in 0..1_000 {
            cards.put(path(n), card());
            assert!(cards.get(&path(0)).is_some(), "asked for after {n} others");
            let held = (cards.young.len() + cards.old.len()) * 20_000 * size_of::<(u32, u32)>();
            assert!(held <= MAX_BYTES, "{held} bytes");
        }
        assert!(cards.get(&path(1)).is_none() && cards.get(&path(999)).is_some());
    }
}
