//! A quantile sketch that merges exactly (DDSketch: Masson, Rim, Lee, VLDB 2019).
//!
//! Values fall into buckets whose bounds grow by a fixed ratio, so that any quantile is known within 1 % of its
//! value. Merging adds counts, hence the order never matters.

/// How far a quantile may be off, as a share of its value.
const ALPHA: f64 = 0.01;
/// Ratio of neighbouring bucket bounds.
const GAMMA: f64 = (1.0 + ALPHA) / (1.0 - ALPHA);
/// Magnitudes below this count as zero.
const SMALLEST: f64 = 1e-9;
/// Keeps keys of positive values positive: the key of [`SMALLEST`] is -1036 before it is added.
const OFFSET: i32 = 2000;

/// Counts by bucket. A key is 0 for zero, positive for positive values, negative for negative ones; keys are in the
/// order of the values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Ascending by key, counts never 0.
    buckets: Vec<(i32, u64)>,
}

/// The bucket of a finite value.
pub fn bucket(value: f64) -> i32 {
    let magnitude = value.abs();
    if magnitude < SMALLEST {
        return 0;
    }
    let index = (magnitude.ln() / GAMMA.ln()).ceil() as i32 + OFFSET;
    if value < 0.0 { -index } else { index }
}

/// The value that stands for a bucket: none of its values is further away than 1 %.
fn value_of(key: i32) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let magnitude = 2.0 * GAMMA.powi(key.abs() - OFFSET) / (GAMMA + 1.0);
    if key < 0 { -magnitude } else { magnitude }
}

impl Sketch {
    /// A sketch of these buckets: ascending by key, each once, no count 0.
    pub(super) fn of_buckets(buckets: Vec<(i32, u64)>) -> Self {
        Self { buckets }
    }

    /// The buckets, to be used again.
    pub(super) fn into_buckets(self) -> Vec<(i32, u64)> {
        self.buckets
    }

    /// Adds a finite value `count` times.
    pub fn add(&mut self, value: f64, count: u64) {
        self.add_bucket(bucket(value), count);
    }

    /// Adds to a bucket by its key.
    pub fn add_bucket(&mut self, key: i32, count: u64) {
        match self.buckets.binary_search_by_key(&key, |bucket| bucket.0) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (key, count)),
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for &(key, count) in &other.buckets {
            self.add_bucket(key, count);
        }
    }

    /// What merging all of them gives.
    pub fn of_parts<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mut buckets = Vec::with_capacity(parts.clone().map(|part| part.buckets.len()).sum());
        parts.for_each(|part| buckets.extend_from_slice(&part.buckets));
        // The parts are sorted, and a stable sort sees that.
        buckets.sort_by_key(|bucket| bucket.0);
        buckets.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        Self { buckets }
    }

    /// The buckets, ascending by key.
    pub fn buckets(&self) -> &[(i32, u64)] {
        &self.buckets
    }

    /// The value below which a share `q` of the values lies; 0 when empty.
    pub fn quantile(&self, q: f64) -> f64 {
        let count: u64 = self.buckets.iter().map(|bucket| bucket.1).sum();
        let rank = (q.clamp(0.0, 1.0) * count.saturating_sub(1) as f64).floor() as u64;
        let mut before = 0;
        for &(key, count) in &self.buckets {
            before += count;
            if before > rank {
                return value_of(key);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_for_its_values_within_a_percent() {
        for exponent in -80..100 {
            for mantissa in [1.0, 1.37, 2.5, 7.77] {
                let value = mantissa * 10_f64.powf(f64::from(exponent) / 10.0);
                for value in [value, -value] {
                    let found = value_of(bucket(value));
                    assert!((found - value).abs() <= value.abs() * ALPHA * 1.0001, "{value} {found}");
                }
            }
        }
        assert_eq!(value_of(bucket(0.0)), 0.0);
    }

    #[test]
    fn keys_are_in_the_order_of_values() {
        let values = [-1e9, -3.0, -1e-8, 0.0, 1e-8, 0.5, 21.5, 1e12];
        assert!(values.windows(2).all(|pair| bucket(pair[0]) < bucket(pair[1])));
    }
}
