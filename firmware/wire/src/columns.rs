//! Readings as columns: what makes 2 bytes of 40.
//!
//! Readings are sorted by series, so that each series is a run of its own. Per run: times as first, first
//! difference, then differences of differences; values as integers of a decimal scale where every value of the
//! run is exactly such a decimal (sensors speak in 0.01 °C or 1 mm), else as the bits of the doubles, each
//! XORed with the one before. Qualities are run-length coded over the whole batch.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bincode::{Decode, Encode};

use crate::frame::{DecodeError, EncodeError};
use crate::ids::{QuantityCode, SensorName};
use crate::place::Place;
use crate::reading::{Batch, Quality, Reading, Series};
use crate::time::{BootId, Clock};

/// Most readings in one batch: a minute of 64 sensors at 1 Hz.
pub const MAX_READINGS: usize = 4096;
/// Most series in one batch, and sensors on one gateway.
pub const MAX_SERIES: usize = 1024;
/// Most places in one batch.
pub const MAX_PLACES: usize = 64;

/// Decimal digits tried after the point.
const MAX_SCALE: u8 = 6;
/// A run of so many readings shows its scale: the last digit is 0 in all of them once in 10,000. A shorter one takes
/// the scale that most of its quantity have, so that neighbours are told alike.
const TELLING: usize = 4;
/// Marks a run of doubles.
pub(crate) const RAW: u8 = 255;
/// Integers up to here are exact doubles (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;
const POWERS: [f64; MAX_SCALE as usize + 1] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// One run of readings.
#[derive(Encode, Decode)]
pub(crate) struct Run {
    pub(crate) sensor: SensorName,
    pub(crate) quantity: QuantityCode,
    pub(crate) place: u16,
    pub(crate) readings: u32,
    /// Digits after the point of `values`, or [`RAW`].
    pub(crate) scale: u8,
}

/// A batch, column by column.
#[derive(Encode, Decode)]
pub(crate) struct Columns {
    pub(crate) boot: BootId,
    pub(crate) clock: Clock,
    pub(crate) places: Vec<Place>,
    pub(crate) runs: Vec<Run>,
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<i64>,
    pub(crate) doubles: Vec<u64>,
    pub(crate) qualities: Vec<(u32, Quality)>,
}

/// The integer that is `value` at `scale` digits after the point, when that loses nothing.
fn scaled(value: f64, scale: u8) -> Option<i64> {
    let power = POWERS[usize::from(scale)];
    let shifted = value * power;
    if shifted.is_nan() || shifted.abs() >= EXACT {
        return None;
    }
    let rounded = (shifted + if shifted < 0.0 { -0.5 } else { 0.5 }) as i64;
    (rounded as f64 / power == value).then_some(rounded)
}

/// The smallest scale at which every value of a run is exact.
fn scale_of(values: impl Iterator<Item = f64> + Clone) -> Option<u8> {
    let mut scale = 0;
    for value in values.clone() {
        while scaled(value, scale).is_none() {
            scale += 1;
            if scale > MAX_SCALE {
                return None;
            }
        }
    }
    // A value exact at a small scale may lose a bit at a larger one: prove all at the final scale.
    values.into_iter().all(|value| scaled(value, scale).is_some()).then_some(scale)
}

/// The scale of each run; `None` for doubles.
fn scales(runs: &[(&[&Reading], &Series)]) -> Vec<Option<u8>> {
    let mut scales: Vec<_> = runs.iter().map(|(run, _)| scale_of(values_of(run))).collect();
    let is_short = |run: &[&Reading]| run.len() < TELLING;
    // How many short runs of a quantity have a scale.
    let mut votes: BTreeMap<(u16, u8), usize> = BTreeMap::new();
    for ((run, series), scale) in runs.iter().zip(&scales).filter(|((run, _), _)| is_short(run)) {
        if let Some(scale) = scale.filter(|_| values_of(run).next().is_some()) {
            *votes.entry((series.quantity.0, scale)).or_default() += 1;
        }
    }
    // Of as many the finer one.
    let mut common: BTreeMap<u16, (usize, u8)> = BTreeMap::new();
    for ((quantity, scale), votes) in votes {
        let most = common.entry(quantity).or_default();
        *most = (votes, scale).max(*most);
    }
    for ((run, series), scale) in runs.iter().zip(&mut scales).filter(|((run, _), _)| is_short(run)) {
        let common = common.get(&series.quantity.0).map(|most| most.1);
        let is_exact = |common: &u8| values_of(run).all(|value| scaled(value, *common).is_some());
        *scale = scale.and(common.filter(is_exact)).or(*scale);
    }
    scales
}

/// The values of a run.
fn values_of<'a>(run: &'a [&Reading]) -> impl Iterator<Item = f64> + Clone + 'a {
    run.iter().filter_map(|reading| reading.value)
}

impl Columns {
    pub(crate) fn pack(batch: &Batch) -> Result<Self, EncodeError> {
        let limit = |what, found, most| {
            if found > most { Err(EncodeError::TooMany { what, found, most }) } else { Ok(()) }
        };
        limit("readings", batch.readings.len(), MAX_READINGS)?;
        limit("series", batch.series.len(), MAX_SERIES)?;
        limit("places", batch.places.len(), MAX_PLACES)?;
        if batch.series.iter().any(|series| usize::from(series.place) >= batch.places.len()) {
            return Err(EncodeError::Dangling);
        }
        let mut sorted: Vec<&Reading> = batch.readings.iter().collect();
        sorted.sort_by_key(|reading| reading.series);

        let count = sorted.len();
        let mut out = Columns {
            boot: batch.boot,
            clock: batch.clock,
            places: batch.places.clone(),
            runs: Vec::with_capacity(batch.series.len()),
            times: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
            doubles: Vec::new(),
            qualities: Vec::new(),
        };
        let mut runs = Vec::with_capacity(batch.series.len());
        for run in sorted.chunk_by(|a, b| a.series == b.series) {
            let series = batch.series.get(usize::from(run[0].series)).ok_or(EncodeError::Dangling)?;
            runs.push((run, series));
        }
        for ((run, series), scale) in runs.iter().zip(scales(&runs)) {
            out.pack_times(run)?;
            out.pack_qualities(run);
            let scale = out.pack_values(run, scale)?;
            out.runs.push(Run {
                sensor: series.sensor.clone(),
                quantity: series.quantity,
                place: series.place,
                readings: run.len() as u32,
                scale,
            });
        }
        Ok(out)
    }

    fn pack_times(&mut self, run: &[&Reading]) -> Result<(), EncodeError> {
        let (mut last, mut step) = (0_i64, 0_i64);
        for (index, reading) in run.iter().enumerate() {
            let time = i64::try_from(reading.mono_ms).map_err(|_| EncodeError::BadTime)?;
            let difference = time - last;
            match index {
                0 => self.times.push(time),
                1 => self.times.push(difference),
                _ => self.times.push(difference.wrapping_sub(step)),
            }
            if index > 0 {
                step = difference;
            }
            last = time;
        }
        Ok(())
    }

    fn pack_qualities(&mut self, run: &[&Reading]) {
        for reading in run {
            match self.qualities.last_mut() {
                Some((count, quality)) if *quality == reading.quality => *count += 1,
                _ => self.qualities.push((1, reading.quality)),
            }
        }
    }

    fn pack_values(&mut self, run: &[&Reading], scale: Option<u8>) -> Result<u8, EncodeError> {
        let fits =
            |r: &&Reading| r.value.is_some() == r.quality.has_value() && r.value.is_none_or(f64::is_finite);
        if let Some(wrong) = run.iter().find(|reading| !fits(reading)) {
            return Err(EncodeError::BadValue { series: wrong.series });
        }
        if let Some(scale) = scale {
            let mut last = 0;
            for value in values_of(run) {
                // Proved exact by `scales`.
                let integer = scaled(value, scale).unwrap_or_default();
                self.values.push(integer - last);
                last = integer;
            }
            Ok(scale)
        } else {
            let mut last = 0;
            for value in values_of(run) {
                self.doubles.push(value.to_bits() ^ last);
                last = value.to_bits();
            }
            Ok(RAW)
        }
    }

    pub(crate) fn unpack(self) -> Result<Batch, DecodeError> {
        let limit = |what, found, most| {
            if found > most { Err(DecodeError::TooMany { what, found, most }) } else { Ok(()) }
        };
        let wrong = |what| DecodeError::Inconsistent { what };
        limit("readings", self.times.len(), MAX_READINGS)?;
        limit("series", self.runs.len(), MAX_SERIES)?;
        limit("places", self.places.len(), MAX_PLACES)?;
        if !self.places.iter().all(Place::is_valid) {
            return Err(wrong("a place is off the map"));
        }
        let mut qualities = self.qualities.iter().flat_map(|&(count, quality)| {
            // Bounded by `take`: a hostile count costs nothing.
            core::iter::repeat_n(quality, count as usize)
        });
        let mut times = self.times.iter();
        let mut values = self.values.iter();
        let mut doubles = self.doubles.iter();
        let mut readings = Vec::with_capacity(self.times.len());
        let mut series = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let number = series.len() as u16;
            if usize::from(run.place) >= self.places.len() || run.readings == 0 {
                return Err(wrong("a series without a place or without readings"));
            }
            let power = match run.scale {
                RAW => None,
                scale => Some(*POWERS.get(usize::from(scale)).ok_or_else(|| wrong("the scale of a series"))?),
            };
            let (mut time, mut step, mut integer, mut bits) = (0_i64, 0_i64, 0_i64, 0_u64);
            for index in 0..run.readings {
                let next = *times.next().ok_or_else(|| wrong("fewer times than readings"))?;
                match index {
                    0 => time = next,
                    1 => {
                        step = next;
                        time = time.wrapping_add(step);
                    }
                    _ => {
                        step = step.wrapping_add(next);
                        time = time.wrapping_add(step);
                    }
                }
                let mono_ms = u64::try_from(time).map_err(|_| wrong("a time before the boot"))?;
                let quality = qualities.next().ok_or_else(|| wrong("fewer qualities than readings"))?;
                let value = match (quality.has_value(), power) {
                    (false, _) => None,
                    (true, Some(power)) => {
                        integer = integer
                            .wrapping_add(*values.next().ok_or_else(|| wrong("fewer values than readings"))?);
                        Some(integer as f64 / power)
                    }
                    (true, None) => {
                        bits ^= doubles.next().ok_or_else(|| wrong("fewer values than readings"))?;
                        Some(f64::from_bits(bits)).filter(|value| value.is_finite())
                    }
                };
                if value.is_some() != quality.has_value() {
                    return Err(wrong("a value that is not finite"));
                }
                readings.push(Reading { series: number, mono_ms, value, quality });
            }
            series.push(Series { sensor: run.sensor.clone(), quantity: run.quantity, place: run.place });
        }
        if times.next().is_some()
            || values.next().is_some()
            || doubles.next().is_some()
            || qualities.next().is_some()
        {
            return Err(wrong("columns longer than the readings"));
        }
        Ok(Batch { boot: self.boot, clock: self.clock, places: self.places, series, readings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_recognised_and_others_are_not() {
        assert_eq!(scale_of([21.5, 21.25, 21.0].into_iter()), Some(2));
        assert_eq!(scale_of([1.0, 2.0].into_iter()), Some(0));
        assert_eq!(scale_of([0.1, 0.2, 0.3].into_iter()), Some(1));
        assert_eq!(scale_of([1.0 / 3.0].into_iter()), None);
        assert_eq!(scale_of([1e300].into_iter()), None);
        assert_eq!(scale_of(core::iter::empty::<f64>()), Some(0));
    }

    #[test]
    fn short_runs_share_the_scale_of_their_quantity_where_that_is_exact() {
        let series = |quantity| Series {
            sensor: SensorName::new("a").unwrap(),
            quantity: QuantityCode(quantity),
            place: 0,
        };
        let reading = |value| Reading { series: 0, mono_ms: 0, value, quality: Quality::Good };
        let (one, other) = (series(1), series(2));
        type Story<'a> = (&'a [Option<f64>], &'a Series, Option<u8>);
        let stories: [Story<'_>; 9] = [
            (&[Some(21.25)], &one, Some(2)),
            (&[Some(21.5), Some(21.75)], &one, Some(2)),
            // One that is odd pays alone.
            (&[Some(21.234_567)], &one, Some(6)),
            (&[Some(21.0)], &one, Some(2)),
            (&[None], &one, Some(2)),
            (&[Some(21.0); TELLING], &one, Some(0)),
            // A hundred times this is no exact integer any more.
            (&[Some(9_000_000_000_000_000.0)], &one, Some(0)),
            (&[Some(1.0 / 3.0)], &one, None),
            (&[Some(21.0)], &other, Some(0)),
        ];
        let readings: Vec<Vec<Reading>> =
            stories.iter().map(|story| story.0.iter().copied().map(reading).collect()).collect();
        let runs: Vec<Vec<&Reading>> = readings.iter().map(|run| run.iter().collect()).collect();
        let runs: Vec<(&[&Reading], &Series)> =
            runs.iter().zip(&stories).map(|(run, story)| (run.as_slice(), story.1)).collect();
        let expected: Vec<Option<u8>> = stories.iter().map(|story| story.2).collect();
        assert_eq!(scales(&runs), expected);
    }
}
