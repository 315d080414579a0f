//! [`Columns`] once more, with the series as columns too and each told by the one before it.
//!
//! A box with a thousand devices that speak once a minute sends one reading of each series: then it is not the
//! readings but the series that take the room. Names share their beginnings, neighbours measure the same in the same
//! place, are polled in turn, and show much the same: 7.6 bytes a reading become 2. The first time and the first
//! value of a run are differences here, to the series before; the rest is as in [`Columns`]. A name that is the one
//! before with its number counted up, as when devices are numbered, is told by the step alone.

use alloc::vec::Vec;

use bincode::{Decode, Encode};

use crate::columns::{Columns, MAX_SERIES, RAW, Run};
use crate::frame::DecodeError;
use crate::ids::{QuantityCode, SensorName};
use crate::place::Place;
use crate::reading::Quality;
use crate::time::{BootId, Clock};

/// In [`Transposed::shared`]: the name is the one before, counted up by what `own` says. A name has at most 48 bytes.
const COUNTED: u8 = 255;

/// A batch, all in columns. One entry per series in each of the first six.
#[derive(Encode, Decode)]
pub(crate) struct Transposed {
    boot: BootId,
    clock: Clock,
    places_of_batch: Vec<Place>,
    /// How many bytes of its name a series shares with the one before, and how many are its own; or [`COUNTED`] and
    /// the step.
    shared: Vec<u8>,
    own: Vec<u8>,
    quantities: Vec<QuantityCode>,
    places: Vec<u16>,
    readings: Vec<u32>,
    scales: Vec<u8>,
    /// The own parts of all names, one behind the other.
    names: Vec<u8>,
    times: Vec<i64>,
    values: Vec<i64>,
    doubles: Vec<u64>,
    qualities: Vec<(u32, Quality)>,
}

/// How many readings of each run have a value. Ends early when the qualities do.
fn values_of<'a>(
    readings: impl Iterator<Item = u32> + 'a,
    qualities: &'a [(u32, Quality)],
) -> impl Iterator<Item = usize> + 'a {
    let mut qualities = qualities.iter().copied();
    let mut present = (0, Quality::Good);
    readings.map_while(move |mut wanted| {
        let mut values = 0;
        while wanted > 0 {
            if present.0 == 0 {
                present = qualities.next()?;
            }
            let taken = wanted.min(present.0);
            (wanted, present.0) = (wanted - taken, present.0 - taken);
            values += if present.1.has_value() { taken as usize } else { 0 };
        }
        Some(values)
    })
}

/// Goes through the first time and the first scaled value of each run: `rebase` is given the one of the series before
/// and this one's place, and returns what it is without differences.
fn through_firsts(
    runs: &[Run],
    qualities: &[(u32, Quality)],
    times: &mut [i64],
    values: &mut [i64],
    rebase: impl Fn(i64, &mut i64) -> i64,
) {
    let (mut time_at, mut before, mut step) = (0_usize, 0_i64, 0_i64);
    for run in runs {
        if let Some(time) = times.get_mut(time_at) {
            // Polled in turn: the step from series to series is mostly the same.
            let absolute = rebase(before.wrapping_add(step), time);
            step = absolute.wrapping_sub(before);
            before = absolute;
        }
        time_at = time_at.saturating_add(run.readings as usize);
    }
    let mut value_at = 0_usize;
    let mut last: Option<(QuantityCode, u8, i64)> = None;
    for (run, count) in runs.iter().zip(values_of(runs.iter().map(|run| run.readings), qualities)) {
        if run.scale == RAW || count == 0 {
            continue;
        }
        if let Some(value) = values.get_mut(value_at) {
            let alike = last.filter(|(quantity, scale, _)| (*quantity, *scale) == (run.quantity, run.scale));
            last = Some((run.quantity, run.scale, rebase(alike.map_or(0, |alike| alike.2), value)));
        }
        value_at += count;
    }
}

/// How far `name` counts up from `before`: as long, and only a number at the end of both differs.
fn step(before: &[u8], name: &[u8], alike: usize) -> Option<u8> {
    let number = |name: &[u8]| core::str::from_utf8(name.get(alike..)?).ok()?.parse::<u32>().ok();
    let are_digits = |name: &[u8]| name[alike..].iter().all(u8::is_ascii_digit);
    if before.len() != name.len() || !are_digits(before) || !are_digits(name) {
        return None;
    }
    let step = number(name)?.checked_sub(number(before)?)?;
    u8::try_from(step).ok().filter(|step| *step > 0)
}

/// Counts the number at the end of `name` up; `None` when it has too few digits for that.
fn count_up(name: &mut [u8], step: u8) -> Option<()> {
    let mut carry = step;
    for digit in name.iter_mut().rev() {
        if carry == 0 || !digit.is_ascii_digit() {
            break;
        }
        let sum = u16::from(*digit - b'0') + u16::from(carry);
        *digit = b'0' + (sum % 10) as u8;
        carry = (sum / 10) as u8;
    }
    (carry == 0 && step > 0).then_some(())
}

impl Transposed {
    /// Whether a name is told by a step, which readers before this kind do not know.
    pub(crate) fn counts(&self) -> bool {
        self.shared.contains(&COUNTED)
    }

    /// From columns that were packed here.
    pub(crate) fn of(mut columns: Columns) -> Self {
        through_firsts(
            &columns.runs,
            &columns.qualities,
            &mut columns.times,
            &mut columns.values,
            |before, first| {
                let absolute = *first;
                *first = absolute.wrapping_sub(before);
                absolute
            },
        );
        let (mut shared, mut own, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let mut before: &[u8] = &[];
        for run in &columns.runs {
            let name = run.sensor.as_str().as_bytes();
            let alike = before.iter().zip(name).take_while(|(a, b)| a == b).count();
            match step(before, name, alike) {
                Some(step) => {
                    shared.push(COUNTED);
                    own.push(step);
                }
                None => {
                    shared.push(alike as u8);
                    own.push((name.len() - alike) as u8);
                    names.extend_from_slice(&name[alike..]);
                }
            }
            before = name;
        }
        Self {
            boot: columns.boot,
            clock: columns.clock,
            places_of_batch: columns.places,
            shared,
            own,
            quantities: columns.runs.iter().map(|run| run.quantity).collect(),
            places: columns.runs.iter().map(|run| run.place).collect(),
            readings: columns.runs.iter().map(|run| run.readings).collect(),
            scales: columns.runs.iter().map(|run| run.scale).collect(),
            names,
            times: columns.times,
            values: columns.values,
            doubles: columns.doubles,
            qualities: columns.qualities,
        }
    }

    /// Back to columns, which have yet to be judged. Names may count only in the kind that says so.
    pub(crate) fn into_columns(mut self, is_counted: bool) -> Result<Columns, DecodeError> {
        let wrong = |what| DecodeError::Inconsistent { what };
        let count = self.shared.len();
        let lengths = [
            self.own.len(),
            self.quantities.len(),
            self.places.len(),
            self.readings.len(),
            self.scales.len(),
        ];
        if lengths != [count; 5] {
            return Err(wrong("columns of series with different lengths"));
        }
        if count > MAX_SERIES {
            return Err(DecodeError::TooMany { what: "series", found: count, most: MAX_SERIES });
        }
        let mut runs = Vec::with_capacity(count);
        let (mut name, mut names) = (Vec::new(), self.names.as_slice());
        for at in 0..count {
            if is_counted && self.shared[at] == COUNTED {
                count_up(&mut name, self.own[at])
                    .ok_or_else(|| wrong("a name without a number to count up"))?;
            } else {
                let (own, rest) = names
                    .split_at_checked(usize::from(self.own[at]))
                    .ok_or_else(|| wrong("names shorter than their lengths"))?;
                names = rest;
                if name.len() < usize::from(self.shared[at]) {
                    return Err(wrong("a name that shares more than there is"));
                }
                name.truncate(usize::from(self.shared[at]));
                name.extend_from_slice(own);
            }
            let text = core::str::from_utf8(&name).map_err(|_| wrong("a name that is not text"))?;
            runs.push(Run {
                sensor: SensorName::new(text).map_err(|_| wrong("a name that is none"))?,
                quantity: self.quantities[at],
                place: self.places[at],
                readings: self.readings[at],
                scale: self.scales[at],
            });
        }
        if !names.is_empty() {
            return Err(wrong("names longer than their lengths"));
        }
        through_firsts(&runs, &self.qualities, &mut self.times, &mut self.values, |before, first| {
            *first = first.wrapping_add(before);
            *first
        });
        Ok(Columns {
            boot: self.boot,
            clock: self.clock,
            places: self.places_of_batch,
            runs,
            times: self.times,
            values: self.values,
            doubles: self.doubles,
            qualities: self.qualities,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::ids::Area;
    use crate::place::Datum;
    use crate::reading::{Batch, Reading, Series};
    use crate::time::ClockState;

    fn batch() -> Batch {
        let name = |text: &str| SensorName::new(text).unwrap();
        let series = |text: &str, quantity, place| Series {
            sensor: name(text),
            quantity: QuantityCode(quantity),
            place,
        };
        let reading = |series, mono_ms, value: Option<f64>| Reading {
            series,
            mono_ms,
            value,
            quality: if value.is_some() { Quality::Good } else { Quality::Fault },
        };
        Batch {
            boot: BootId(1),
            clock: Clock { state: ClockState::Synchronised, epoch_ms: 0 },
            places: vec![Place::new(30.0, 104.0, Datum::Wgs84, Area::unknown()).unwrap(); 2],
            series: vec![
                series("smoke.0001", 200, 0),
                series("smoke.0002", 200, 1),
                series("smoke.0003", 200, 0),
                series("smoke", 100, 0),
                series("door", 100, 1),
            ],
            readings: vec![
                reading(0, 1_000, Some(0.25)),
                reading(0, 2_000, Some(0.5)),
                reading(1, 1_010, None),
                // Another scale, doubles, and a time before the one before.
                reading(2, 1_020, Some(0.125)),
                reading(3, 900, Some(1.0 / 3.0)),
                reading(4, 1_040, Some(-7.0)),
            ],
        }
    }

    fn there_and_back(change: impl FnOnce(&mut Transposed)) -> Result<Batch, DecodeError> {
        let mut transposed = Transposed::of(Columns::pack(&batch()).unwrap());
        change(&mut transposed);
        transposed.into_columns(true)?.unpack()
    }

    #[test]
    fn names_are_counted_only_where_that_is_exact() {
        let of = |before: &str, name: &str| {
            let (before, name) = (before.as_bytes(), name.as_bytes());
            let alike = before.iter().zip(name).take_while(|(a, b)| a == b).count();
            let step = step(before, name, alike)?;
            let mut back = before.to_vec();
            assert_eq!((count_up(&mut back, step), back.as_slice()), (Some(()), name));
            Some(step)
        };
        for (before, name, expected) in [
            ("smoke.0001", "smoke.0002", Some(1)),
            ("smoke.0096", "smoke.0102", Some(6)),
            ("smoke.0745", "smoke.1000", Some(255)),
            ("smoke.0744", "smoke.1000", None),
            ("smoke.0002", "smoke.0001", None),
            ("smoke.0002", "smoke.0002", None),
            ("smoke.9", "smoke.10", None),
            ("smoke.1", "smoke.a", None),
            ("smoke.1", "heat.2", None),
            ("", "smoke.1", None),
            ("99999999999999", "99999999999998", None),
            ("1000000000000000000000", "1000000000000000000001", Some(1)),
            ("0999999999999999999999", "1000000000000000000000", None),
        ] {
            assert_eq!(of(before, name), expected, "{before} → {name}");
        }
        for (name, step) in [("smoke.0099", 0), ("smoke.9", 1), ("smoke", 1), ("", 1)] {
            assert_eq!(count_up(&mut name.as_bytes().to_vec(), step), None, "{name} + {step}");
        }
    }

    #[test]
    fn all_comes_back() {
        assert_eq!(there_and_back(|_| ()), Ok(batch()));
        let transposed = || Transposed::of(Columns::pack(&batch()).unwrap());
        assert!(transposed().counts());
        let refused = transposed().into_columns(false).map(|_| ());
        assert!(matches!(refused, Err(DecodeError::Inconsistent { .. })), "not in the kind without it");
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        type Story = (&'static str, fn(&mut Transposed));
        let stories: [Story; 12] = [
            ("a column too short", |t| t.places.truncate(4)),
            ("a column too long", |t| t.scales.push(0)),
            ("names too short", |t| t.names.truncate(3)),
            ("names too long", |t| t.names.push(b'a')),
            ("more shared than there is", |t| t.shared[0] = 1),
            ("not text", |t| t.names[0] = 0xff),
            ("no name", |t| t.names[0] = b' '),
            ("nothing to count up from", |t| t.shared[0] = COUNTED),
            ("no step", |t| t.own[1] = 0),
            ("a step too far", |t| (t.shared[4], t.own[4]) = (COUNTED, 1)),
            ("too few qualities", |t| t.qualities.clear()),
            ("too few times", |t| t.times.truncate(2)),
        ];
        for (what, change) in stories {
            assert!(matches!(there_and_back(change), Err(DecodeError::Inconsistent { .. })), "{what}");
        }
        let many = there_and_back(|t| {
            let count = MAX_SERIES + 1;
            (t.shared, t.own) = (vec![0; count], vec![1; count]);
            (t.quantities, t.places) = (vec![QuantityCode(1); count], vec![0; count]);
            (t.readings, t.scales, t.names) = (vec![1; count], vec![0; count], vec![b'a'; count]);
        });
        assert!(matches!(many, Err(DecodeError::TooMany { what: "series", .. })));
        for hostile in [u32::MAX, 0] {
            assert!(
                there_and_back(|t| t.readings[0] = hostile).is_err(),
                "{}",
                format!("{hostile} readings")
            );
        }
    }
}
