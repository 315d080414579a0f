//! What gateways were told is durable, against the rows in the pool. Pure.

use std::collections::BTreeMap;

use wire::{Batch, Frame, Payload};

/// The readings of a frame: how many, and a sum over when and what each was, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// Readings.
    pub readings: u64,
    /// Sum of their fingerprints.
    sum: u64,
}

impl Content {
    /// Takes in one reading: its time in milliseconds since 1970 UTC and the bits of its value, `None` for a fault.
    pub fn add(&mut self, at_ms: i64, value: Option<u64>) {
        let mut hash = (at_ms as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 29) ^ value.unwrap_or(u64::MAX)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.readings += 1;
        self.sum = self.sum.wrapping_add(hash ^ (hash >> 32));
    }

    /// That of a frame as it travels; `None` unless it is one of readings.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let Ok(Frame { payload: Payload::Readings(batch), .. }) = Frame::decode(frame) else { return None };
        let Batch { clock, readings, .. } = batch;
        let mut content = Self::default();
        for reading in readings {
            content.add(clock.wall_ms(reading.mono_ms), reading.value.map(f64::to_bits));
        }
        Some(content)
    }
}

/// The last frame of each gateway up to which all were acknowledged, 0 before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise(pub Vec<u64>);

impl Promise {
    /// Reads `PROMISE 3 0 7`.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.strip_prefix("PROMISE ")?.split_ascii_whitespace().map(str::parse);
        numbers.collect::<Result<_, _>>().ok().map(Self)
    }

    /// All frames together.
    pub fn frames(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl std::fmt::Display for Promise {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PROMISE")?;
        self.0.iter().try_for_each(|number| write!(out, " {number}"))
    }
}

/// What one gateway has ever sent.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Its store.
    pub store: u64,
    /// Its frames, from number 1.
    pub frames: Vec<Content>,
}

/// What is wrong with the rows of a pool, given by store and number of the frame: each promised frame must be there as
/// it was sent; any other one too, or not at all. One sentence for each kind of fault of each gateway.
pub fn judge(sent: &[Sent], promise: &Promise, found: &BTreeMap<(u64, u64), Content>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, (sent, &promised)) in sent.iter().zip(&promise.0).enumerate() {
        let (mut lost, mut other) = (Vec::new(), Vec::new());
        for (sequence, content) in (1..).zip(&sent.frames) {
            match found.get(&(sent.store, sequence)) {
                None if sequence <= promised => lost.push(sequence),
                Some(there) if there != content => other.push((sequence, there.readings, content.readings)),
                _ => {}
            }
        }
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            wrong.push(format!(
                "gateway {number}: {} frames lost between {first} and {last}, all to {promised} were acknowledged",
                lost.len()
            ));
        }
        if let Some((sequence, there, readings)) = other.first() {
            wrong.push(format!(
                "gateway {number}: {} frames are other than sent; {sequence} has {there} rows, {readings} readings were sent",
                other.len()
            ));
        }
    }
    let known = |store: u64, sequence: u64| {
        sent.iter().any(|sent| sent.store == store && (1..=sent.frames.len() as u64).contains(&sequence))
    };
    let strange = found.keys().filter(|(store, sequence)| !known(*store, *sequence)).count();
    if strange > 0 {
        wrong.push(format!("{strange} frames that nobody sent"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with so many readings.
    fn content(readings: i64) -> Content {
        let mut content = Content::default();
        (0..readings).for_each(|at| content.add(at, Some(7)));
        content
    }

    fn sent() -> [Sent; 1] {
        [Sent { store: 9, frames: vec![content(1), content(2), content(3)] }]
    }

    #[test]
    fn what_was_promised_is_there_once_and_as_it_was_sent() {
        // What lies there as (store, number, readings); what was promised; words of the verdict.
        type Case = (&'static [(u64, u64, i64)], u64, &'static [&'static str]);
        const CASES: [Case; 8] = [
            (&[(9, 1, 1), (9, 2, 2)], 2, &[]),
            (&[(9, 1, 1), (9, 2, 2), (9, 3, 3)], 2, &[]), // more than promised is no fault
            (&[(9, 1, 1), (9, 3, 3)], 1, &[]),            // nor is a gap that nobody was told of
            (&[], 0, &[]),
            (&[(9, 2, 2)], 2, &["1 frames lost between 1 and 1"]),
            (&[(9, 1, 1), (9, 2, 4)], 2, &["2 has 4 rows, 2 readings"]), // doubled
            (&[(9, 1, 1), (9, 2, 1)], 1, &["2 has 1 rows, 2 readings"]), // half there
            (&[(9, 1, 1), (8, 1, 1), (9, 4, 1)], 1, &["2 frames that nobody sent"]),
        ];
        for (there, promised, words) in CASES {
            let found = there.iter().map(|&(store, number, n)| ((store, number), content(n))).collect();
            let wrong = judge(&sent(), &Promise(vec![promised]), &found);
            assert_eq!(wrong.len(), words.len(), "{there:?}: {wrong:?}");
            assert!(
                wrong.iter().zip(words).all(|(wrong, word)| wrong.contains(word)),
                "{there:?}: {wrong:?}"
            );
        }
    }

    #[test]
    fn a_content_is_of_times_and_values_in_any_order() {
        let of = |readings: &[(i64, Option<u64>)]| {
            let mut content = Content::default();
            readings.iter().for_each(|&(at_ms, value)| content.add(at_ms, value));
            content
        };
        assert_eq!(of(&[(1, Some(2)), (3, None)]), of(&[(3, None), (1, Some(2))]));
        for other in [[(1, Some(2)), (3, Some(0))], [(1, Some(2)), (4, None)], [(3, Some(2)), (1, None)]] {
            assert_ne!(of(&[(1, Some(2)), (3, None)]), of(&other));
        }
    }

    #[test]
    fn a_promise_is_read_as_it_is_written() {
        let promise = Promise(vec![3, 0, 12]);
        assert_eq!(Promise::parse(&promise.to_string()), Some(promise));
        assert_eq!(Promise::parse("PROMISE 3 x"), None);
    }
}
