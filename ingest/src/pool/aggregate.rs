//! Aggregates that merge exactly: in any order, from any split of the readings, the result is the same.
//!
//! The sum is kept as an integer of millionths, because adding doubles in another order gives another sum. First
//! and last are decided by (time, sensor, value), so that ties do not depend on the order of arrival.

use super::sketch::Sketch;

/// Millionths per unit of a sum.
const MICRO: f64 = 1e6;
/// From here on they do not fit into 64 bits.
const WIDE: f64 = 9e18;

/// The end of a window: a reading that came first or last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct End {
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Number of the sensor.
    pub sensor: u32,
    /// The value.
    pub value: f64,
}

impl End {
    /// Which of two ends is the earlier one.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.sensor).cmp(&(other.at_ms, other.sensor)).then(self.value.total_cmp(&other.value))
    }
}

/// What is known of the readings of a window. Never empty: it begins with its first reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// How many.
    pub count: u64,
    /// Their sum in millionths, each rounded half away from zero.
    pub sum_micro: i128,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The earliest.
    pub first: End,
    /// The latest.
    pub last: End,
    /// Their distribution, within 1 %.
    pub sketch: Sketch,
    /// Numbers of the sensors that contributed, ascending.
    pub sensors: Vec<u32>,
}

impl Aggregate {
    /// The aggregate of one reading. The value must be finite.
    pub fn of(at_ms: i64, sensor: u32, value: f64) -> Self {
        let end = End { at_ms, sensor, value };
        let mut sketch = Sketch::default();
        sketch.add(value, 1);
        Self {
            count: 1,
            sum_micro: micro(value),
            min: value,
            max: value,
            first: end,
            last: end,
            sketch,
            sensors: vec![sensor],
        }
    }

    /// Adds one reading. The value must be finite.
    pub fn add(&mut self, at_ms: i64, sensor: u32, value: f64) {
        let end = End { at_ms, sensor, value };
        self.count += 1;
        self.sum_micro += micro(value);
        self.min = smaller(self.min, value);
        self.max = larger(self.max, value);
        if end.order(&self.first).is_lt() {
            self.first = end;
        }
        if end.order(&self.last).is_gt() {
            self.last = end;
        }
        self.sketch.add(value, 1);
        if let Err(place) = self.sensors.binary_search(&sensor) {
            self.sensors.insert(place, sensor);
        }
    }

    /// Adds all readings of another aggregate, which must not have been added before.
    pub fn merge(&mut self, other: &Self) {
        self.merge_numbers(other);
        self.sketch.merge(&other.sketch);
        for sensor in &other.sensors {
            if let Err(place) = self.sensors.binary_search(sensor) {
                self.sensors.insert(place, *sensor);
            }
        }
    }

    /// What merging all others into `first` gives, with its lists sorted once.
    pub fn of_parts<'a>(first: &'a Self, others: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let parts = || std::iter::once(first).chain(others.clone());
        let sketch = Sketch::of_parts(parts().map(|part| &part.sketch));
        let mut sensors = Vec::with_capacity(parts().map(|part| part.sensors.len()).sum());
        parts().for_each(|part| sensors.extend_from_slice(&part.sensors));
        // The parts are sorted, and a stable sort sees that.
        sensors.sort();
        sensors.dedup();
        let mut all = Self { sketch, sensors, ..*first };
        others.for_each(|part| all.merge_numbers(part));
        all
    }

    fn merge_numbers(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_micro += other.sum_micro;
        self.min = smaller(self.min, other.min);
        self.max = larger(self.max, other.max);
        if other.first.order(&self.first).is_lt() {
            self.first = other.first;
        }
        if other.last.order(&self.last).is_gt() {
            self.last = other.last;
        }
    }

    /// The sum.
    pub fn sum(&self) -> f64 {
        self.sum_micro as f64 / MICRO
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum() / self.count as f64
    }

    /// The value below which a share `q` of the readings lies, within 1 %.
    pub fn quantile(&self, q: f64) -> f64 {
        self.sketch.quantile(q).clamp(self.min, self.max)
    }
}

/// A value in millionths, rounded half away from zero.
pub fn micro(value: f64) -> i128 {
    let rounded = (value * MICRO).round();
    // Nearly always: to 128 bits it takes a function.
    if rounded.abs() < WIDE { i128::from(rounded as i64) } else { rounded as i128 }
}

// By total order, so that of 0 and -0 always the same one wins.
fn smaller(a: f64, b: f64) -> f64 {
    if b.total_cmp(&a).is_lt() { b } else { a }
}

fn larger(a: f64, b: f64) -> f64 {
    if b.total_cmp(&a).is_gt() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(readings: &[(i64, u32, f64)]) -> Aggregate {
        let (&(at, sensor, value), rest) = readings.split_first().unwrap();
        rest.iter().fold(Aggregate::of(at, sensor, value), |mut all, &(at, sensor, value)| {
            all.add(at, sensor, value);
            all
        })
    }

    fn reading() -> impl Strategy<Value = (i64, u32, f64)> {
        // Few times and sensors, so that ties are common; values with signs, zeros and uneven decimals.
        (0..20_i64, 0..4_u32, prop_oneof![Just(0.0), Just(-0.0), -1e6..1e6_f64, Just(0.1), Just(21.55)])
    }

    proptest! {
        #[test]
        fn order_and_split_do_not_matter(
            readings in prop::collection::vec(reading(), 1..80),
            cuts in prop::collection::vec(0..80_usize, 0..6),
            seed in any::<u64>(),
        ) {
            let whole = folded(&readings);
            let mut shuffled = readings.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % shuffled.len()).collect();
            cuts.extend([0, shuffled.len()]);
            cuts.sort_unstable();
            let parts: Vec<Aggregate> =
                cuts.windows(2).filter(|w| w[0] < w[1]).map(|w| folded(&shuffled[w[0]..w[1]])).collect();
            let mut merged = parts.last().unwrap().clone();
            parts[..parts.len() - 1].iter().for_each(|part| merged.merge(part));
            prop_assert_eq!(&Aggregate::of_parts(&parts[0], parts[1..].iter()), &whole);
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(merged.min.to_bits(), whole.min.to_bits());
        }

        #[test]
        fn it_is_what_a_naive_recomputation_gives(readings in prop::collection::vec(reading(), 1..80)) {
            let all = folded(&readings);
            let mut values: Vec<f64> = readings.iter().map(|r| r.2).collect();
            values.sort_by(f64::total_cmp);
            prop_assert_eq!(all.count as usize, values.len());
            prop_assert_eq!(all.min.to_bits(), values[0].to_bits());
            prop_assert_eq!(all.max.to_bits(), values[values.len() - 1].to_bits());
            prop_assert_eq!(all.sum_micro, values.iter().map(|v| (v * 1e6).round() as i128).sum::<i128>());
            let mut sensors: Vec<u32> = readings.iter().map(|r| r.1).collect();
            sensors.sort_unstable();
            sensors.dedup();
            prop_assert_eq!(&all.sensors, &sensors);
            let mut by_time = readings.clone();
            by_time.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
            let (first, last) = (by_time[0], by_time[by_time.len() - 1]);
            prop_assert_eq!((all.first.at_ms, all.first.sensor, all.first.value), first);
            prop_assert_eq!((all.last.at_ms, all.last.sensor, all.last.value), last);
            for q in [0.0, 0.5, 0.95, 1.0] {
                let exact = values[(q * (values.len() - 1) as f64).floor() as usize];
                let found = all.quantile(q);
                prop_assert!((found - exact).abs() <= exact.abs() * 0.0101 + 1e-9, "{} {} {}", q, exact, found);
            }
        }
    }
}
