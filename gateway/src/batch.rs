//! Batches: readings gathered, and payloads packed into frames that fit. Pure.

use wire::columns::MAX_PLACES;
use wire::frame::{self, MAX_FRAME_BYTES};
use wire::{
    Batch, BootId, Clock, Codec, EncodeError, GatewayId, Lane, Payload, Place, Quality, Reading, Series,
};

use crate::config::Sensor;

/// When a batch is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At this many readings.
    pub readings: usize,
    /// When its first reading is this old, in ms.
    pub age_ms: u64,
}

impl Default for Limits {
    /// Four thousand readings or ten seconds: 100 sensors at 1 Hz give 1000 readings a batch, some 1 to 2 bytes each,
    /// and a flood gives frames that are large enough to be cheap on the disk and on the wire. A card writes whole
    /// pages of 4 KiB, so half the age would wear it twice as fast. It is also what a power cut may take of the readings
    /// and what they come later; alarms are never held back.
    fn default() -> Self {
        Self { readings: 4000, age_ms: 10_000 }
    }
}

/// A reading whose quality was judged, by number of its sensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Number of the sensor.
    pub sensor: u16,
    /// Milliseconds since the start.
    pub mono_ms: u64,
    /// The value, absent exactly when the quality is fault.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
}

/// Gathers readings of one boot under one clock.
///
/// Call [`Batcher::push`] for every reading and [`Batcher::timeout`] at [`Batcher::next_timeout`] or whenever
/// convenient; each may hand back a closed batch. Calling more often does no harm.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    boot: BootId,
    clock: Clock,
    sensors: Vec<(Series, Place)>,
    /// Place of each sensor in the open batch, by number.
    index: Vec<Option<u16>>,
    open: Batch,
    opened_ms: u64,
}

impl Batcher {
    /// A batcher for these sensors, by number.
    pub fn new(limits: Limits, boot: BootId, clock: Clock, sensors: &[Sensor]) -> Self {
        let sensors: Vec<(Series, Place)> = sensors
            .iter()
            .map(|s| {
                (Series { sensor: s.name.clone(), quantity: s.quantity.code, place: 0 }, s.place.clone())
            })
            .collect();
        let index = vec![None; sensors.len()];
        Self { limits, boot, clock, sensors, index, open: empty(boot, clock), opened_ms: 0 }
    }

    /// Adds a reading at `now_ms`; the batch it completed, or the one that had no place left for it.
    /// A reading of an unknown sensor is ignored.
    pub fn push(&mut self, now_ms: u64, reading: Judged) -> Option<Batch> {
        let number = usize::from(reading.sensor);
        let closed = match self.sensors.get(number) {
            None => return None,
            Some((_, place)) if self.open.places.len() >= MAX_PLACES && !self.open.places.contains(place) => {
                self.close()
            }
            Some(_) => None,
        };
        if self.open.readings.is_empty() {
            self.opened_ms = now_ms;
        }
        let (series, place) = &self.sensors[number];
        let slot = *self.index[number].get_or_insert_with(|| {
            let at = self.open.places.iter().position(|p| p == place).unwrap_or_else(|| {
                self.open.places.push(place.clone());
                self.open.places.len() - 1
            });
            self.open.series.push(Series { place: at as u16, ..series.clone() });
            (self.open.series.len() - 1) as u16
        });
        self.open.readings.push(Reading {
            series: slot,
            mono_ms: reading.mono_ms,
            value: reading.value,
            quality: reading.quality,
        });
        if self.open.readings.len() >= self.limits.readings { self.close() } else { closed }
    }

    /// Takes note of a new clock; the batch gathered under the old one.
    pub fn clock(&mut self, clock: Clock) -> Option<Batch> {
        if clock == self.clock {
            return None;
        }
        let closed = self.close();
        self.clock = clock;
        self.open.clock = clock;
        closed
    }

    /// When [`Batcher::timeout`] has something to do, in ms since the start.
    pub fn next_timeout(&self) -> Option<u64> {
        (!self.open.readings.is_empty()).then(|| self.opened_ms.saturating_add(self.limits.age_ms))
    }

    /// The batch that is old enough at `now_ms`.
    pub fn timeout(&mut self, now_ms: u64) -> Option<Batch> {
        if self.next_timeout().is_some_and(|at| at <= now_ms) { self.close() } else { None }
    }

    /// Whatever was gathered, for a clean stop.
    pub fn close(&mut self) -> Option<Batch> {
        if self.open.readings.is_empty() {
            return None;
        }
        self.index.fill(None);
        Some(std::mem::replace(&mut self.open, empty(self.boot, self.clock)))
    }
}

fn empty(boot: BootId, clock: Clock) -> Batch {
    Batch { boot, clock, places: Vec::new(), series: Vec::new(), readings: Vec::new() }
}

/// A frame ready for the buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// Its lane.
    pub lane: Lane,
    /// Its number.
    pub sequence: u64,
    /// Readings, events or losses inside.
    pub items: u32,
    /// Its bytes, as they are stored, shipped and logged.
    pub bytes: Vec<u8>,
}

/// Packs a payload into as many frames as it needs, numbered from `sequence`. Splits by halves what is too large.
///
/// # Errors
/// [`EncodeError`] for a payload that breaks a rule no split can mend; nothing is packed then.
pub fn pack(
    gateway: &GatewayId,
    store: u64,
    sequence: u64,
    payload: Payload,
) -> Result<Vec<Packed>, EncodeError> {
    let mut out = Vec::with_capacity(1);
    // Depth-first, first half first, so that numbers follow the order of time. Halving MAX_READINGS ends
    // within 13 levels.
    let mut waiting = vec![payload];
    while let Some(payload) = waiting.pop() {
        let next = sequence.saturating_add(out.len() as u64);
        match frame::encode(gateway, store, next, &payload, Codec::best()) {
            Ok(bytes) => {
                debug_assert!(bytes.len() <= MAX_FRAME_BYTES);
                out.push(Packed {
                    lane: payload.lane(),
                    sequence: next,
                    items: payload.items() as u32,
                    bytes,
                });
            }
            Err(error @ (EncodeError::TooLarge { .. } | EncodeError::TooMany { .. })) => {
                match halves(payload) {
                    Some((first, second)) => waiting.extend([second, first]),
                    None => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

/// Two payloads that together say the same; `None` for what cannot be split.
fn halves(payload: Payload) -> Option<(Payload, Payload)> {
    fn cut<T>(items: &mut Vec<T>) -> Option<Vec<T>> {
        (items.len() >= 2).then(|| items.split_off(items.len() / 2))
    }
    match payload {
        Payload::Readings(mut first) => {
            let tail = cut(&mut first.readings)?;
            let mut second = Batch { readings: tail, ..first.clone() };
            compact(&mut first);
            compact(&mut second);
            Some((Payload::Readings(first), Payload::Readings(second)))
        }
        Payload::Alarms(mut first) => {
            let events = cut(&mut first.events)?;
            let second = wire::Alarms { events, ..first };
            Some((Payload::Alarms(first), Payload::Alarms(second)))
        }
        Payload::Announcement(mut first) => {
            let sensors = cut(&mut first.sensors)?;
            let second = wire::Announcement { sensors, ..first.clone() };
            Some((Payload::Announcement(first), Payload::Announcement(second)))
        }
        Payload::Losses(mut first) => {
            let losses = cut(&mut first.losses)?;
            let second = wire::Losses { losses, ..first };
            Some((Payload::Losses(first), Payload::Losses(second)))
        }
        Payload::Health(mut first) => {
            let gauges = cut(&mut first.gauges)?;
            let second = wire::Health { gauges, ..first };
            Some((Payload::Health(first), Payload::Health(second)))
        }
        Payload::Envelopes(mut first) => {
            let envelopes = cut(&mut first.envelopes)?;
            Some((Payload::Envelopes(first), Payload::Envelopes(wire::Envelopes { envelopes })))
        }
        // Parts are cut to size where the picture is.
        Payload::Picture(_) => None,
    }
}

/// Drops series and places that no reading of the batch uses.
pub(crate) fn compact(batch: &mut Batch) {
    let old = Batch { readings: Vec::new(), ..batch.clone() };
    let mut slots: Vec<Option<u16>> = vec![None; old.series.len()];
    batch.series.clear();
    batch.places.clear();
    for reading in &mut batch.readings {
        let number = usize::from(reading.series);
        let (Some(slot), Some(series)) = (slots.get_mut(number), old.series.get(number)) else { continue };
        let to = *slot.get_or_insert_with(|| {
            let mut series = series.clone();
            if let Some(place) = old.places.get(usize::from(series.place)) {
                let at = batch.places.iter().position(|p| p == place).unwrap_or_else(|| {
                    batch.places.push(place.clone());
                    batch.places.len() - 1
                });
                series.place = at as u16;
            }
            batch.series.push(series);
            (batch.series.len() - 1) as u16
        });
        reading.series = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clock, sensors};

    fn batcher(readings: usize) -> Batcher {
        Batcher::new(Limits { readings, age_ms: 5_000 }, BootId(1), clock(0), &sensors(100))
    }

    fn reading(sensor: u16, mono_ms: u64) -> Judged {
        Judged { sensor, mono_ms, value: Some(f64::from(sensor)), quality: Quality::Good }
    }

    #[test]
    fn a_batch_closes_when_full_old_or_the_clock_steps() {
        let mut b = batcher(3);
        assert_eq!(b.next_timeout(), None);
        assert_eq!(b.push(100, reading(0, 90)), None);
        assert_eq!(b.next_timeout(), Some(5_100));
        assert_eq!(b.timeout(5_099), None);
        assert_eq!(b.timeout(5_100).map(|b| b.readings.len()), Some(1), "old");
        assert_eq!(b.timeout(9_999), None, "nothing is left");

        assert_eq!(b.push(6_000, reading(0, 6_000)), None);
        assert_eq!(b.clock(clock(0)), None, "the same clock closes nothing");
        let closed = b.clock(clock(7_000)).expect("the clock stepped");
        assert_eq!(closed.clock, clock(0), "old readings keep the old clock");
        for n in 0..2 {
            assert_eq!(b.push(7_000, reading(n, 7_000)), None);
        }
        let full = b.push(7_001, reading(0, 7_001)).expect("full");
        assert_eq!((full.clock, full.readings.len(), full.series.len()), (clock(7_000), 3, 2));
    }

    #[test]
    fn series_and_places_are_listed_once_and_only_if_used() {
        let mut b = batcher(1000);
        for round in 0..3 {
            for n in [7, 3] {
                assert_eq!(b.push(round, reading(n, round)), None);
            }
        }
        let batch = b.close().expect("readings");
        assert_eq!(batch.series.iter().map(|s| s.sensor.as_str()).collect::<Vec<_>>(), ["s7", "s3"]);
        assert_eq!(batch.places.len(), 2);
        assert_eq!(batch.readings.iter().map(|r| r.series).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_sixty_fifth_place_starts_another_batch() {
        let mut b = batcher(1000);
        for n in 0..64 {
            assert_eq!(b.push(0, reading(n, 0)), None);
        }
        assert_eq!(b.push(0, reading(5, 1)), None, "a known place still fits");
        let closed = b.push(0, reading(64, 2)).expect("no place left");
        assert_eq!((closed.places.len(), closed.readings.len()), (64, 65));
        let rest = b.close().expect("the one that did not fit");
        assert_eq!((rest.places.len(), rest.readings.len(), rest.series[0].sensor.as_str()), (1, 1, "s64"));
        assert_eq!(b.push(0, reading(9999, 0)), None, "an unknown sensor is ignored");
        assert_eq!(b.close(), None);
    }

    #[test]
    fn what_is_too_large_is_split_in_order_and_nothing_is_lost() {
        let mut b = batcher(4096);
        // Random doubles do not compress: 4096 of them take more than one frame.
        let mut random = fastrand::Rng::with_seed(7);
        let mut sent = Vec::new();
        let mut batch = None;
        for n in 0..4096_u64 {
            let value = random.f64();
            let sensor = (n % 50) as u16;
            sent.push((sensor, n, value));
            let judged = Judged { sensor, mono_ms: n, value: Some(value), quality: Quality::Good };
            batch = b.push(n, judged).or(batch);
        }
        let gateway = GatewayId::new("gw").expect("valid");
        let packed = pack(&gateway, 9, 41, Payload::Readings(batch.expect("full"))).expect("packs");
        assert!(packed.len() >= 2, "{}", packed.len());
        let mut got = Vec::new();
        for (n, frame) in packed.iter().enumerate() {
            assert!(frame.bytes.len() <= MAX_FRAME_BYTES);
            assert_eq!((frame.lane, frame.sequence), (Lane::Reading, 41 + n as u64));
            let decoded = wire::Frame::decode(&frame.bytes).expect("our own frame");
            let Payload::Readings(batch) = decoded.payload else { panic!("readings") };
            assert_eq!(frame.items as usize, batch.readings.len());
            for r in batch.readings {
                let name = batch.series[usize::from(r.series)].sensor.as_str();
                got.push((name[1..].parse::<u16>().expect("number"), r.mono_ms, r.value.expect("value")));
            }
        }
        got.sort_by_key(|(_, mono, _)| *mono);
        assert_eq!(got, sent);
    }

    #[test]
    fn what_cannot_be_mended_is_an_error() {
        let gateway = GatewayId::new("gw").expect("valid");
        let mut batch = empty(BootId(1), clock(0));
        assert_eq!(pack(&gateway, 1, 1, Payload::Readings(batch.clone())), Err(EncodeError::Empty));
        batch.readings.push(Reading { series: 3, mono_ms: 0, value: Some(1.0), quality: Quality::Good });
        assert_eq!(pack(&gateway, 1, 1, Payload::Readings(batch)), Err(EncodeError::Dangling));
    }
}
