//! Which frames have been taken: so that each counts once, and every gap has an explanation.
//!
//! Per (gateway, store, lane) a high-water mark says that everything up to it is settled, and ranges above it what is
//! settled there. Settled is what was taken, and what the gateway reported as lost. A lost frame that turns up after
//! all (a refused one that was replayed from the quarantine) is taken.

use std::collections::{BTreeMap, HashMap};

use bincode::{Decode, Encode};
use wire::{GatewayId, Lane};

/// Most ranges above the high-water mark before frames that would open another gap have to wait: a flight window
/// makes some dozens.
pub const MAX_GAPS: usize = 1024;
/// Most ranges of lost sequences remembered per lane; the oldest are forgotten, and can then not be taken any more.
const MAX_LOST: usize = 1024;
/// Most stores remembered per gateway: a store is new when a card was replaced. The one not heard of for longest
/// is forgotten.
const MAX_STORES: usize = 64;

/// A set of numbers as disjoint ranges that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, &to)| number <= to)
    }

    /// Adds `from..=to`, which may overlap what is there.
    fn insert(&mut self, mut from: u64, mut to: u64) {
        let touching = |ranges: &BTreeMap<u64, u64>, from: u64, to: u64| {
            let (&start, &end) = ranges.range(..=to.saturating_add(1)).next_back()?;
            (end.saturating_add(1) >= from).then_some((start, end))
        };
        while let Some((start, end)) = touching(&self.0, from, to) {
            self.0.remove(&start);
            from = from.min(start);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }

    fn remove(&mut self, number: u64) {
        if let Some((&from, &to)) = self.0.range(..=number).next_back()
            && number <= to
        {
            self.0.remove(&from);
            if from < number {
                self.0.insert(from, number - 1);
            }
            if number < to {
                self.0.insert(number + 1, to);
            }
        }
    }

    /// The parts of `from..=to` that are not in the set.
    fn absent(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut absent = Vec::new();
        let mut next = from;
        let before = self.0.range(..=from).next_back();
        let inside = self.0.range(from.saturating_add(1)..=to.max(from.saturating_add(1)));
        for (&start, &end) in before.into_iter().chain(inside) {
            if start > to {
                break;
            }
            if start > next {
                absent.push((next, start - 1));
            }
            next = next.max(end.saturating_add(1));
        }
        if next <= to {
            absent.push((next, to));
        }
        absent
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from + 1).sum()
    }
}

/// What is known of one sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not seen yet.
    New,
    /// Not seen, and reported as lost.
    Lost,
    /// Taken before.
    Taken,
    /// Not seen, but there are so many gaps already that it has to wait until some are filled.
    TooManyGaps,
}

/// The frames of one lane of one store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct LaneLedger {
    high_water: u64,
    above: Ranges,
    lost: Ranges,
    lost_count: u64,
    last_ms: i64,
}

impl LaneLedger {
    /// Everything up to here is settled.
    pub fn high_water(&self) -> u64 {
        self.high_water
    }

    /// Sequences below the highest settled one that are still to come.
    pub fn missing(&self) -> u64 {
        let highest = self.above.0.last_key_value().map_or(self.high_water, |(_, &to)| to);
        highest - self.high_water - self.above.total()
    }

    /// Sequences that will never come.
    pub fn lost(&self) -> u64 {
        self.lost_count
    }

    /// What is known of `sequence`.
    pub fn standing(&self, sequence: u64) -> Standing {
        if sequence > self.high_water && !self.above.contains(sequence) {
            let extends = sequence == self.high_water + 1 || self.above.contains(sequence - 1);
            if !extends && self.above.0.len() >= MAX_GAPS { Standing::TooManyGaps } else { Standing::New }
        } else if self.lost.contains(sequence) {
            Standing::Lost
        } else {
            Standing::Taken
        }
    }

    /// Takes `sequence`; false when it had been taken before.
    fn take(&mut self, sequence: u64) -> bool {
        match self.standing(sequence) {
            Standing::Taken => false,
            Standing::Lost => {
                self.lost.remove(sequence);
                self.lost_count = self.lost_count.saturating_sub(1);
                true
            }
            // The door keeps gaps few; what got past it while others did too is taken all the same.
            Standing::New | Standing::TooManyGaps => {
                self.settle(sequence, sequence);
                true
            }
        }
    }

    fn settle(&mut self, from: u64, to: u64) {
        self.above.insert(from, to);
        if let Some((&start, &end)) = self.above.0.first_key_value()
            && start <= self.high_water + 1
        {
            self.above.0.remove(&start);
            self.high_water = end;
        }
    }

    /// Notes that those of `from..=to` which are not settled will never come.
    fn lose(&mut self, from: u64, to: u64) {
        let from = from.max(self.high_water + 1);
        if from > to {
            return;
        }
        for (from, to) in self.above.absent(from, to) {
            self.lost_count += to - from + 1;
            self.lost.insert(from, to);
            self.settle(from, to);
        }
        while self.lost.0.len() > MAX_LOST {
            self.lost.0.pop_first();
        }
    }
}

/// The frames of all gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    gateways: HashMap<GatewayId, BTreeMap<(u64, Lane), LaneLedger>>,
}

impl Ledger {
    /// What is known of a frame.
    pub fn standing(&self, gateway: &GatewayId, store: u64, lane: Lane, sequence: u64) -> Standing {
        let lanes = self.gateways.get(gateway).and_then(|lanes| lanes.get(&(store, lane)));
        lanes.map_or(Standing::New, |ledger| ledger.standing(sequence))
    }

    /// How many gateways have an account.
    pub fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// Whether `gateway` has an account.
    pub fn knows(&self, gateway: &GatewayId) -> bool {
        self.gateways.contains_key(gateway)
    }

    /// Takes a frame and says what was known of it before.
    pub fn take(
        &mut self,
        gateway: &GatewayId,
        store: u64,
        lane: Lane,
        sequence: u64,
        received_ms: i64,
    ) -> Standing {
        let ledger = self.lane(gateway, store, lane, received_ms);
        let before = ledger.standing(sequence);
        ledger.take(sequence);
        before
    }

    /// Notes sequences that will never come.
    pub fn lose(
        &mut self,
        gateway: &GatewayId,
        store: u64,
        lane: Lane,
        (from, to): (u64, u64),
        received_ms: i64,
    ) {
        self.lane(gateway, store, lane, received_ms).lose(from, to);
    }

    /// The accounts of one gateway by store and lane.
    pub fn lanes(&self, gateway: &GatewayId) -> impl Iterator<Item = (u64, Lane, &LaneLedger)> {
        let lanes = self.gateways.get(gateway).into_iter().flatten();
        lanes.map(|(&(store, lane), ledger)| (store, lane, ledger))
    }

    fn lane(&mut self, gateway: &GatewayId, store: u64, lane: Lane, received_ms: i64) -> &mut LaneLedger {
        let lanes = self.gateways.entry(gateway.clone()).or_default();
        if !lanes.contains_key(&(store, lane)) {
            forget_oldest_store(lanes, store);
        }
        let ledger = lanes.entry((store, lane)).or_default();
        ledger.last_ms = ledger.last_ms.max(received_ms);
        ledger
    }

    /// Everything, in a fixed order, for the checkpoint.
    pub(super) fn to_list(&self) -> Vec<(&GatewayId, u64, Lane, &LaneLedger)> {
        let mut list: Vec<_> = (self.gateways.iter())
            .flat_map(|(gateway, lanes)| {
                lanes.iter().map(move |(&(store, lane), ledger)| (gateway, store, lane, ledger))
            })
            .collect();
        list.sort_unstable_by_key(|&(gateway, store, lane, _)| (gateway, store, lane));
        list
    }

    /// From the checkpoint.
    pub(super) fn from_list(list: Vec<(GatewayId, u64, Lane, LaneLedger)>) -> Self {
        let mut ledger = Self::default();
        for (gateway, store, lane, account) in list {
            ledger.gateways.entry(gateway).or_default().insert((store, lane), account);
        }
        ledger
    }
}

fn forget_oldest_store(lanes: &mut BTreeMap<(u64, Lane), LaneLedger>, newcomer: u64) {
    let mut stores: BTreeMap<u64, i64> = BTreeMap::new();
    for (&(store, _), ledger) in lanes.iter() {
        let last = stores.entry(store).or_insert(ledger.last_ms);
        *last = (*last).max(ledger.last_ms);
    }
    if stores.len() < MAX_STORES || stores.contains_key(&newcomer) {
        return;
    }
    if let Some((&oldest, _)) = stores.iter().min_by_key(|(_, last)| **last) {
        lanes.retain(|&(store, _), _| store != oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_gap_is_missing_then_filled_then_complete() {
        let mut lane = LaneLedger::default();
        for sequence in [1, 2, 5, 6] {
            assert!(lane.take(sequence));
        }
        assert_eq!((lane.high_water(), lane.missing(), lane.lost()), (2, 2, 0));
        assert!(!lane.take(5), "a repeat");
        assert!(lane.take(3));
        lane.lose(4, 4);
        assert_eq!((lane.high_water(), lane.missing(), lane.lost()), (6, 0, 1));
        assert_eq!(lane.standing(4), Standing::Lost);
        assert!(lane.take(4), "a lost one that turns up is taken");
        assert!(!lane.take(4), "once");
        assert_eq!(lane.lost(), 0);
    }

    #[test]
    fn an_enormous_loss_costs_nothing() {
        let mut lane = LaneLedger::default();
        assert!(lane.take(10));
        lane.lose(1, i64::MAX as u64);
        assert_eq!(
            (lane.high_water(), lane.missing(), lane.lost()),
            (i64::MAX as u64, 0, i64::MAX as u64 - 1)
        );
    }

    #[test]
    fn gaps_are_bounded_at_the_door() {
        let mut lane = LaneLedger::default();
        for sequence in 0..MAX_GAPS as u64 {
            assert!(lane.take(2 + 2 * sequence));
        }
        assert_eq!(lane.standing(1_000_000), Standing::TooManyGaps);
        assert_eq!(lane.standing(1), Standing::New, "what fills a gap is always welcome");
        assert_eq!(lane.standing(3 + 2 * MAX_GAPS as u64 - 2), Standing::New, "what extends a range too");
    }

    #[test]
    fn old_stores_are_forgotten_first() {
        let gateway = GatewayId::new("g").unwrap();
        let mut ledger = Ledger::default();
        for store in 0..=MAX_STORES as u64 {
            ledger.take(&gateway, store, Lane::Reading, 1, 1000 + store as i64);
        }
        assert_eq!(ledger.standing(&gateway, 0, Lane::Reading, 1), Standing::New);
        assert_eq!(ledger.standing(&gateway, 1, Lane::Reading, 1), Standing::Taken);
        let list = ledger.to_list().into_iter();
        let list =
            list.map(|(gateway, store, lane, account)| (gateway.clone(), store, lane, account.clone()));
        assert_eq!(Ledger::from_list(list.collect()), ledger);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(u64),
        Lose(u64, u64),
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec(
            prop_oneof![3 => (1..60_u64).prop_map(Step::Take), 1 => (1..60_u64, 0..12_u64).prop_map(|(a, n)| Step::Lose(a, a + n))], 0..120))
        {
            let mut lane = LaneLedger::default();
            let (mut taken, mut lost) = (BTreeSet::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Take(n) => {
                        prop_assert_eq!(lane.take(n), taken.insert(n));
                        lost.remove(&n);
                    }
                    Step::Lose(a, b) => {
                        lane.lose(a, b);
                        lost.extend((a..=b).filter(|n| !taken.contains(n)));
                    }
                }
                let settled: BTreeSet<u64> = taken.union(&lost).copied().collect();
                let high_water = (1..).find(|n| !settled.contains(n)).unwrap_or(1) - 1;
                let highest = settled.last().copied().unwrap_or(0);
                prop_assert_eq!(lane.high_water(), high_water);
                prop_assert_eq!(lane.lost(), lost.len() as u64);
                prop_assert_eq!(lane.missing(), highest - settled.len() as u64);
            }
        }
    }
}
