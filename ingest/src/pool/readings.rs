//! Readings into rows, last values and windows.

use wire::{Batch, ClockState, Quality, QuantityCode};

use super::newest::clock_number;
use super::rows::{Head, Row};
use super::sensors::{Last, Sighting};
use super::windows::{BASE_MS, BASE_PRECISION, WindowKey, Windows, minute_of};
use super::{Span, State};
use crate::admit::is_plausible;
use crate::cell::Cell;
use crate::normalise::wgs84_e7;
use crate::senml::MappedReading;

/// A reading is late when its minute ended longer than this before its receipt, in milliseconds.
pub const LATE_MS: i64 = 120_000;

/// What the readings of a run have in common.
#[derive(Debug, Clone, Copy)]
struct Run {
    sensor: u32,
    name: u32,
    /// Number of their head in the span.
    head: u32,
    quantity: QuantityCode,
    min: f64,
    max: f64,
    cell: Cell,
    clock: ClockState,
    received_ms: i64,
}

/// A place of a batch.
#[derive(Debug, Clone, Copy)]
struct Spot {
    lat_e7: i32,
    lon_e7: i32,
    area: u32,
    cell: Cell,
    /// Number of the head of its readings, once there is one.
    head: Option<u32>,
}

/// What cannot be must not enter a sum, whatever the box thinks of it.
fn judged(value: Option<f64>, quality: Quality, min: f64, max: f64) -> Quality {
    match value {
        Some(value) if quality.is_usable() && !(min..=max).contains(&value) => Quality::OutOfRange,
        _ => quality,
    }
}

/// Identity of the frame that readings came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) gateway: &'a wire::GatewayId,
    pub(super) store: u64,
    pub(super) sequence: u64,
    pub(super) received_ms: i64,
}

impl Origin<'_> {
    /// The head of readings at a place.
    fn head(&self, gateway: u32, clock: ClockState, seen: &Sighting) -> Head {
        Head {
            received_ms: self.received_ms,
            store: self.store,
            sequence: self.sequence,
            gateway,
            area: seen.area,
            lat_e7: seen.lat_e7,
            lon_e7: seen.lon_e7,
            clock: clock_number(clock),
            lane: wire::Lane::Reading as u8,
        }
    }
}

/// How times of a batch become wall times.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dating {
    /// The box knew, or learned later in the same start.
    Clock(wire::Clock),
    /// It did not, or cannot be believed: the newest was taken when the batch was received, the others before it.
    Receipt { newest_mono_ms: u64, received_ms: i64 },
}

impl Dating {
    pub(super) fn of(clock: wire::Clock, monos: impl Iterator<Item = u64> + Clone, received_ms: i64) -> Self {
        let newest_mono_ms = monos.clone().max().unwrap_or(0);
        let believable = clock.state != ClockState::Unset
            && monos.clone().all(|mono| is_plausible(clock.wall_ms(mono), received_ms));
        if believable { Dating::Clock(clock) } else { Dating::Receipt { newest_mono_ms, received_ms } }
    }

    /// The newest reading of `batch` was taken when it was received.
    fn by_receipt(batch: &Batch, received_ms: i64) -> Self {
        let newest_mono_ms = batch.readings.iter().map(|reading| reading.mono_ms).max().unwrap_or(0);
        Dating::Receipt { newest_mono_ms, received_ms }
    }

    pub(super) fn at_ms(self, mono_ms: u64) -> i64 {
        match self {
            Dating::Clock(clock) => clock.wall_ms(mono_ms),
            Dating::Receipt { newest_mono_ms, received_ms } => {
                let age = i64::try_from(newest_mono_ms.saturating_sub(mono_ms)).unwrap_or(i64::MAX);
                let at_ms = received_ms.saturating_sub(age);
                if is_plausible(at_ms, received_ms) { at_ms } else { received_ms }
            }
        }
    }

    pub(super) fn state(self) -> ClockState {
        match self {
            Dating::Clock(clock) => clock.state,
            Dating::Receipt { .. } => ClockState::Unset,
        }
    }
}

/// A sender that says when is believed as far as it is plausible; else the time of receipt counts.
fn time_of(reading: &MappedReading, received_ms: i64) -> (i64, ClockState) {
    match (is_plausible(reading.at_ms, received_ms), reading.timed) {
        (true, true) => (reading.at_ms, ClockState::Synchronised),
        (true, false) => (reading.at_ms, ClockState::HeldOver),
        (false, _) => (received_ms, ClockState::Unset),
    }
}

/// Readings that could not be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftover {
    /// Numbers of quantities that the catalogue does not hold.
    pub unknown: Vec<u16>,
    /// How many readings are of such a quantity.
    pub unknown_readings: u64,
    /// How many are of sensors beyond what one gateway may have.
    pub crowded_readings: u64,
}

impl Leftover {
    /// How many readings there are.
    pub fn readings(&self) -> u64 {
        self.unknown_readings + self.crowded_readings
    }
}

/// The window that a reading of a cell of the base precision enters, and the value it brings: none of a fault, of a
/// quality that cannot be trusted, or of a guessed time. `clock` is numbered as in [`Head`].
fn window_of(
    quantity: u16,
    cell: Cell,
    clock: u8,
    (at_ms, value, quality): (i64, Option<f64>, Quality),
) -> Option<(WindowKey, f64)> {
    let is_dated = clock != clock_number(ClockState::Unset);
    let value = value.filter(|_| is_dated && quality.is_usable())?;
    Some((WindowKey { quantity, cell, start_ms: minute_of(at_ms) }, value))
}

/// What of a row in Parquet decides its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// As in [`Row`] and [`Head`], like all others.
    pub sensor: u32,
    /// What was measured.
    pub quantity: u16,
    /// How far to trust it.
    pub quality: u8,
    /// What was known of the time.
    pub clock: u8,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The value; `None` for a fault.
    pub value: Option<f64>,
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
}

impl Measured {
    /// Adds it to its window, as it was when it came.
    pub fn add_to(&self, windows: &mut Windows) {
        let Self { sensor, quantity, clock, at_ms, value, lat_e7, lon_e7, .. } = *self;
        let quality = Quality::ALL.get(usize::from(self.quality)).copied().unwrap_or(Quality::Fault);
        let cell = Cell::at_e7(lat_e7, lon_e7, BASE_PRECISION);
        if let Some((key, value)) = window_of(quantity, cell, clock, (at_ms, value, quality)) {
            windows.add(key, at_ms, sensor, value);
        }
    }
}

impl State {
    /// Takes the readings of a batch. With `only`, those of other quantities are passed over: they were taken before.
    pub(super) fn take_batch(&mut self, origin: Origin<'_>, batch: &Batch, only: Option<&[u16]>) -> Leftover {
        let known = self.gateways.get(origin.gateway);
        let clock = known.map_or(batch.clock, |gateway| gateway.better_clock(batch.boot, batch.clock));
        let monos = batch.readings.iter().map(|reading| reading.mono_ms);
        let dating = Dating::of(clock, monos, origin.received_ms);
        let mut spots: Vec<Spot> = (batch.places.iter())
            .map(|place| {
                let (lat_e7, lon_e7) = wgs84_e7(place);
                let area = self.sensors.area_number(&place.area);
                Spot { lat_e7, lon_e7, area, cell: Cell::at_e7(lat_e7, lon_e7, BASE_PRECISION), head: None }
            })
            .collect();
        let owner = self.sensors.owner(origin.gateway);
        self.current.rows.reserve(batch.readings.len());
        let mut leftover = Leftover::default();
        for readings in batch.readings.chunk_by(|a, b| a.series == b.series) {
            let Some(series) = readings.first().and_then(|first| batch.series.get(usize::from(first.series)))
            else {
                continue;
            };
            if only.is_some_and(|only| !only.contains(&series.quantity.0)) {
                continue;
            }
            let Some(spot) = spots.get_mut(usize::from(series.place)) else { continue };
            let Some(quantity) = self.rules.catalogue.get(series.quantity) else {
                leftover.unknown_readings += readings.len() as u64;
                if !leftover.unknown.contains(&series.quantity.0) {
                    leftover.unknown.push(series.quantity.0);
                }
                continue;
            };
            let &mut Spot { lat_e7, lon_e7, area, cell, .. } = spot;
            let seen = Sighting { quantity: series.quantity, lat_e7, lon_e7, area };
            let Some(sensor) = self.sensors.see(owner, &series.sensor, &seen) else {
                leftover.crowded_readings += readings.len() as u64;
                continue;
            };
            let (rows, clock) = (&mut self.current.rows, dating.state());
            let run = Run {
                sensor,
                name: self.sensors.place_of_name(sensor),
                head: *spot.head.get_or_insert_with(|| rows.head(origin.head(owner, clock, &seen))),
                quantity: series.quantity,
                min: quantity.min,
                max: quantity.max,
                cell,
                clock,
                received_ms: origin.received_ms,
            };
            self.take_run(&run, readings.iter().map(|r| (dating.at_ms(r.mono_ms), r.value, r.quality)));
        }
        leftover
    }

    /// Shows the newest readings of a batch that has to wait for its box to learn the time, dated by receipt. False,
    /// and then nothing is shown, when not all its readings could be taken: such a batch does not wait.
    pub(super) fn show_unset(&mut self, gateway: &wire::GatewayId, batch: &Batch, received_ms: i64) -> bool {
        if batch.series.iter().any(|series| self.rules.catalogue.get(series.quantity).is_none()) {
            return false;
        }
        let owner = self.sensors.owner(gateway);
        let mut numbers = Vec::with_capacity(batch.series.len());
        for series in &batch.series {
            let Some(place) = batch.places.get(usize::from(series.place)) else { return false };
            let (lat_e7, lon_e7) = wgs84_e7(place);
            let area = self.sensors.area_number(&place.area);
            let seen = Sighting { quantity: series.quantity, lat_e7, lon_e7, area };
            let Some(number) = self.sensors.see(owner, &series.sensor, &seen) else { return false };
            numbers.push(number);
        }
        let dating = Dating::by_receipt(batch, received_ms);
        for reading in &batch.readings {
            if let Some(&number) = numbers.get(usize::from(reading.series)) {
                let at_ms = dating.at_ms(reading.mono_ms);
                let clock = ClockState::Unset;
                self.sensors
                    .reading(number, Last { at_ms, value: reading.value, quality: reading.quality, clock });
            }
        }
        true
    }

    /// Takes the newest readings of a batch that was applied before, and nothing else: a checkpoint writes them behind
    /// the rest. What was shown unset then may have learned its time since.
    pub(super) fn refresh_batch(&mut self, gateway: &wire::GatewayId, batch: &Batch, received_ms: i64) {
        let known = self.gateways.get(gateway);
        let clock = known.map_or(batch.clock, |gateway| gateway.better_clock(batch.boot, batch.clock));
        let dating = Dating::of(clock, batch.readings.iter().map(|reading| reading.mono_ms), received_ms);
        let owner = self.sensors.owner(gateway);
        for readings in batch.readings.chunk_by(|a, b| a.series == b.series) {
            let series = readings.first().and_then(|first| batch.series.get(usize::from(first.series)));
            let Some(series) = series else { continue };
            let Some(quantity) = self.rules.catalogue.get(series.quantity) else { continue };
            let Some(sensor) = self.sensors.known(owner, &series.sensor) else { continue };
            for &wire::Reading { mono_ms, value, quality, .. } in readings {
                let quality = judged(value, quality, quantity.min, quantity.max);
                let last = Last { at_ms: dating.at_ms(mono_ms), value, quality, clock: dating.state() };
                self.sensors.reading(sensor, last);
            }
        }
    }

    /// The same for a pack.
    pub(super) fn refresh_mapped(
        &mut self,
        source: &wire::GatewayId,
        readings: &[MappedReading],
        received_ms: i64,
    ) {
        let owner = self.sensors.owner(source);
        for reading in readings {
            let Some(quantity) = self.rules.catalogue.get(reading.quantity) else { continue };
            let Some(sensor) = self.sensors.known(owner, &reading.sensor) else { continue };
            let (at_ms, clock) = time_of(reading, received_ms);
            let value = Some(reading.value);
            let quality = judged(value, Quality::Good, quantity.min, quantity.max);
            self.sensors.reading(sensor, Last { at_ms, value, quality, clock });
        }
    }

    /// Readings of a sensor that wait for its box to learn the time, dated by receipt.
    pub fn waiting_readings(
        &self,
        gateway: &wire::GatewayId,
        sensor: &str,
    ) -> Vec<(i64, Option<f64>, Quality)> {
        let mut found = Vec::new();
        for waiter in self.waiting.of(gateway) {
            let Some(batch) = waiter.batch() else { continue };
            let dating = Dating::by_receipt(batch, waiter.received_ms);
            let of_sensor = |series: u16| {
                batch.series.get(usize::from(series)).is_some_and(|series| series.sensor.as_str() == sensor)
            };
            let readings = batch.readings.iter().filter(|reading| of_sensor(reading.series));
            found.extend(readings.map(|r| (dating.at_ms(r.mono_ms), r.value, r.quality)));
        }
        found
    }

    /// Takes readings of a pack.
    pub(super) fn take_mapped(&mut self, origin: Origin<'_>, readings: &[MappedReading]) -> Leftover {
        let owner = self.sensors.owner(origin.gateway);
        let mut leftover = Leftover::default();
        for reading in readings {
            let Some(quantity) = self.rules.catalogue.get(reading.quantity) else {
                leftover.unknown_readings += 1;
                leftover.unknown.push(reading.quantity.0);
                continue;
            };
            let (min, max) = (quantity.min, quantity.max);
            let (lat_e7, lon_e7) = wgs84_e7(&reading.place);
            let area = self.sensors.area_number(&reading.place.area);
            let seen = Sighting { quantity: reading.quantity, lat_e7, lon_e7, area };
            let Some(sensor) = self.sensors.see(owner, &reading.sensor, &seen) else {
                leftover.crowded_readings += 1;
                continue;
            };
            let (at_ms, clock) = time_of(reading, origin.received_ms);
            let run = Run {
                sensor,
                name: self.sensors.place_of_name(sensor),
                head: self.current.rows.head(origin.head(owner, clock, &seen)),
                quantity: reading.quantity,
                min,
                max,
                cell: Cell::at_e7(lat_e7, lon_e7, BASE_PRECISION),
                clock,
                received_ms: origin.received_ms,
            };
            self.take_run(&run, std::iter::once((at_ms, Some(reading.value), Quality::Good)));
        }
        leftover
    }

    fn take_run(&mut self, run: &Run, readings: impl Iterator<Item = (i64, Option<f64>, Quality)>) {
        let Span { rows, windows, .. } = &mut self.current;
        let clock = clock_number(run.clock);
        let (mut newest, mut newest_window): (Option<Last>, Option<i64>) = (None, None);
        let (mut count, mut late) = (0, 0);
        for (at_ms, value, quality) in readings {
            let quality = judged(value, quality, run.min, run.max);
            rows.push(Row {
                at_ms,
                value: value.unwrap_or_default(),
                sensor: run.sensor,
                name: run.name,
                head: run.head,
                quantity: run.quantity.0,
                quality: quality as u8,
                has_value: value.is_some(),
            });
            count += 1;
            late += u64::from(run.received_ms.saturating_sub(minute_of(at_ms) + BASE_MS) > LATE_MS);
            if newest.is_none_or(|newest| at_ms >= newest.at_ms) {
                newest = Some(Last { at_ms, value, quality, clock: run.clock });
            }
            if let Some((key, value)) = window_of(run.quantity.0, run.cell, clock, (at_ms, value, quality)) {
                windows.add(key, at_ms, run.sensor, value);
                newest_window = newest_window.max(Some(key.start_ms));
            }
        }
        self.totals.accepted += count;
        self.totals.late += late;
        if let Some(newest) = newest {
            self.sensors.reading(run.sensor, newest);
        }
        if let Some(start_ms) = newest_window {
            self.note_change(run.quantity.0, run.cell, start_ms);
        }
    }
}
