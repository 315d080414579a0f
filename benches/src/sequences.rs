//! Which numbers of a lane are where: pure bookkeeping of the audit.

use std::collections::BTreeMap;

/// Names a lane of one buffer: gateway, store, lane number.
pub type LaneKey = (String, u64, u8);

/// Sequence numbers seen, each with the items counted under it.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    lanes: BTreeMap<LaneKey, BTreeMap<u64, u64>>,
}

impl Seen {
    /// Counts `items` under a sequence.
    pub fn add(&mut self, key: &LaneKey, sequence: u64, items: u64) {
        match self.lanes.get_mut(key) {
            Some(lane) => *lane.entry(sequence).or_default() += items,
            None => {
                self.lanes.insert(key.clone(), BTreeMap::from([(sequence, items)]));
            }
        }
    }

    /// Items under a sequence, 0 when it was never seen.
    pub fn items(&self, key: &LaneKey, sequence: u64) -> u64 {
        self.lanes.get(key).and_then(|lane| lane.get(&sequence)).copied().unwrap_or(0)
    }

    /// All lanes seen.
    pub fn keys(&self) -> impl Iterator<Item = &LaneKey> {
        self.lanes.keys()
    }

    /// Sequences and items of a lane.
    pub fn lane(&self, key: &LaneKey) -> impl Iterator<Item = (u64, u64)> {
        self.lanes.get(key).into_iter().flatten().map(|(&sequence, &items)| (sequence, items))
    }

    /// Frames and items of a lane.
    pub fn totals(&self, key: &LaneKey) -> (u64, u64) {
        self.lane(key).fold((0, 0), |(frames, all), (_, items)| (frames + 1, all + items))
    }

    /// Numbers of `1..next` that were never seen, as closed ranges.
    pub fn missing(&self, key: &LaneKey, next: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut expected = 1;
        for (sequence, _) in self.lane(key).filter(|(sequence, _)| *sequence < next) {
            if sequence > expected {
                missing.push((expected, sequence - 1));
            }
            expected = sequence + 1;
        }
        if expected < next {
            missing.push((expected, next - 1));
        }
        missing
    }
}

/// The parts of `ranges` that no range of `explained` covers.
pub fn unexplained(ranges: &[(u64, u64)], explained: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = ranges.to_vec();
    for &(from, to) in explained {
        left = left
            .into_iter()
            .flat_map(|(start, end)| {
                let before = (start < from).then(|| (start, end.min(from - 1)));
                let after = (end > to).then(|| (start.max(to + 1), end));
                if to < start || from > end { [Some((start, end)), None] } else { [before, after] }
            })
            .flatten()
            .collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sequences: &[u64]) -> (Seen, LaneKey) {
        let key = ("g".into(), 7, 2);
        let mut seen = Seen::default();
        for &sequence in sequences {
            seen.add(&key, sequence, 10);
        }
        (seen, key)
    }

    #[test]
    fn gaps_are_found_at_both_ends_and_between() {
        let (seen, key) = seen(&[2, 3, 6]);
        assert_eq!(seen.missing(&key, 9), [(1, 1), (4, 5), (7, 8)]);
        assert_eq!(seen.missing(&key, 4), [(1, 1)]);
        assert_eq!(seen.missing(&("other".into(), 7, 2), 3), [(1, 2)]);
        assert_eq!(seen.missing(&key, 1), []);
        assert_eq!(seen.totals(&key), (3, 30));
    }

    #[test]
    fn a_loss_record_explains_its_range_only() {
        assert_eq!(unexplained(&[(1, 10)], &[(3, 4)]), [(1, 2), (5, 10)]);
        assert_eq!(unexplained(&[(1, 10)], &[(1, 10)]), []);
        assert_eq!(unexplained(&[(1, 10)], &[(11, 12)]), [(1, 10)]);
        assert_eq!(unexplained(&[(5, 6), (8, 9)], &[(6, 8)]), [(5, 5), (9, 9)]);
    }
}
