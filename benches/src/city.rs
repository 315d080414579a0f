//! Gateways, sensors and readings that look like a street's: the same for the same seed.
//!
//! Values move as real ones do (slowly, with a little noise) and are rounded as the chips round them, because
//! that is what decides how many bytes a reading takes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use wire::{
    Announcement, Area, Batch, BootId, Clock, ClockState, Codec, Datum, EncodeError, GatewayId, NameError,
    Payload, Place, Quality, QuantityCode, Reading, SensorInfo, SensorName, Series, frame,
};

/// Seed of every program here unless it is told another.
pub const SEED: u64 = 20_260_601;
/// Corner of the simulated districts: 30.66 N 104.05 E, west of the middle of Chengdu.
pub const ORIGIN: (f64, f64) = (30.66, 104.05);
/// Distance between neighbouring gateways in degrees: about 900 m, so that each has geohash-6 cells of its own.
const GATEWAY_STEP: f64 = 0.009;
/// Distance between neighbouring places of one gateway in degrees: about 160 m, a geohash-7 cell.
const PLACE_STEP: f64 = 0.0015;
/// Places of one gateway.
const PLACES: usize = 6;
/// One reading in so many is suspect, and one in so many a fault.
const SUSPECT_IN: u32 = 400;
const FAULT_IN: u32 = 2000;

/// What a kind of sensor measures and how.
#[derive(Debug, Clone, Copy)]
struct Kind {
    word: &'static str,
    quantity: u16,
    chip: &'static str,
    start: f64,
    /// Largest step between two readings, in steps of `resolution`.
    wander: f64,
    /// What the chip can tell apart, as decimal digits after the point.
    digits: i32,
    low: f64,
    high: f64,
    every_ms: u64,
}

#[rustfmt::skip]
const KINDS: [Kind; 8] = [
    Kind { word: "air.temperature", quantity: 1, chip: "sht4x", start: 21.5, wander: 4.0, digits: 2, low: -20.0, high: 60.0, every_ms: 5_000 },
    Kind { word: "air.humidity", quantity: 2, chip: "sht4x", start: 64.0, wander: 9.0, digits: 2, low: 5.0, high: 99.0, every_ms: 5_000 },
    Kind { word: "smoke", quantity: 200, chip: "ads1115-loop", start: 0.4, wander: 3.0, digits: 2, low: 0.0, high: 30.0, every_ms: 2_000 },
    Kind { word: "co", quantity: 201, chip: "ads1115-loop", start: 4.0, wander: 2.0, digits: 1, low: 0.0, high: 400.0, every_ms: 2_000 },
    Kind { word: "water.level", quantity: 100, chip: "a02yyuw", start: 800.0, wander: 3.0, digits: 0, low: 0.0, high: 4_000.0, every_ms: 5_000 },
    Kind { word: "hydrant.pressure", quantity: 205, chip: "ads1115-loop", start: 420.0, wander: 5.0, digits: 1, low: 0.0, high: 1_200.0, every_ms: 10_000 },
    Kind { word: "pm25", quantity: 8, chip: "uart", start: 38.0, wander: 2.0, digits: 0, low: 0.0, high: 500.0, every_ms: 10_000 },
    Kind { word: "door", quantity: 400, chip: "contact", start: 0.0, wander: 0.02, digits: 0, low: 0.0, high: 1.0, every_ms: 10_000 },
];

/// One sensor with its present value.
#[derive(Debug, Clone)]
struct Sensor {
    name: SensorName,
    kind: Kind,
    place: u16,
    value: f64,
}

/// How a street's readings come about.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Most milliseconds a reading is taken late: schedulers are not exact.
    pub jitter_ms: u64,
    /// Whether values are rounded to what the chip can tell apart.
    pub rounded: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { jitter_ms: 2, rounded: true }
    }
}

/// One gateway that makes up its readings: numbers its frames as a real one does.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Its name.
    pub id: GatewayId,
    /// Its buffer's number.
    pub store: u64,
    boot: BootId,
    clock: Clock,
    mono_ms: u64,
    sequence: u64,
    health_sequence: u64,
    places: Vec<Place>,
    sensors: Vec<Sensor>,
    /// When each sensor is due, with its number: the first one on top.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    habits: Habits,
    random: fastrand::Rng,
}

/// The area of gateway `number`: two districts in turn.
///
/// # Errors
/// [`NameError`] never happens: the names are constants that obey the rule.
pub fn area(number: usize) -> Result<Area, NameError> {
    Area::new(if number.is_multiple_of(2) { "chengdu/qingyang/caotang" } else { "chengdu/jinjiang/chunxi" })
}

/// Latitude and longitude of gateway `number` in degrees WGS-84, on a square grid from [`ORIGIN`].
pub fn position(number: usize) -> (f64, f64) {
    const PER_ROW: usize = 32;
    let (row, column) = (number / PER_ROW, number % PER_ROW);
    (ORIGIN.0 + row as f64 * GATEWAY_STEP, ORIGIN.1 + column as f64 * GATEWAY_STEP)
}

impl Gateway {
    /// Gateway `number` of the city of `seed` with `sensors` sensors; `epoch_ms` is the wall time of its start in
    /// milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// [`NameError`] when `prefix` does not begin a gateway id.
    pub fn new(
        prefix: &str,
        number: usize,
        sensors: usize,
        seed: u64,
        epoch_ms: i64,
        habits: Habits,
    ) -> Result<Self, NameError> {
        let mut random = fastrand::Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (lat, lon) = position(number);
        let area = area(number)?;
        let places = (0..PLACES)
            .map(|n| Place {
                lat_e7: ((lat + (n / 3) as f64 * PLACE_STEP) * 1e7).round() as i32,
                lon_e7: ((lon + (n % 3) as f64 * PLACE_STEP) * 1e7).round() as i32,
                datum: Datum::Wgs84,
                area: area.clone(),
            })
            .collect();
        let mut due = BinaryHeap::new();
        let sensors = (0..sensors)
            .map(|n| {
                let kind = KINDS[n % KINDS.len()];
                let value = kind.start + random.f64() * kind.wander;
                due.push(Reverse((random.u64(0..kind.every_ms), n)));
                Ok(Sensor {
                    name: SensorName::new(&format!("{}.{:03}", kind.word, n / KINDS.len()))?,
                    kind,
                    place: (n / KINDS.len() % PLACES) as u16,
                    value,
                })
            })
            .collect::<Result<_, NameError>>()?;
        Ok(Self {
            id: GatewayId::new(&format!("{prefix}-{number:02}"))?,
            store: random.u64(1..=i64::MAX as u64),
            boot: BootId(random.u64(..)),
            clock: Clock { state: ClockState::Synchronised, epoch_ms },
            mono_ms: 0,
            sequence: 0,
            health_sequence: 0,
            places,
            sensors,
            due,
            habits,
            random,
        })
    }

    /// Number of the last frame of readings made, 0 before the first.
    pub fn last_sequence(&self) -> u64 {
        self.sequence
    }

    /// Wall time, in milliseconds since 1970 UTC, up to which readings were made.
    pub fn made_until_ms(&self) -> i64 {
        self.clock.wall_ms(self.mono_ms)
    }

    /// The next `count` readings in the order of sampling.
    pub fn batch(&mut self, count: usize) -> Batch {
        let mut readings = Vec::with_capacity(count);
        while readings.len() < count {
            let Some(Reverse((due_ms, index))) = self.due.pop() else { break };
            readings.push(self.sample(due_ms, index));
        }
        let series = self.sensors.iter();
        let series = series
            .map(|s| Series {
                sensor: s.name.clone(),
                quantity: QuantityCode(s.kind.quantity),
                place: s.place,
            })
            .collect();
        Batch { boot: self.boot, clock: self.clock, places: self.places.clone(), series, readings }
    }

    fn sample(&mut self, due_ms: u64, index: usize) -> Reading {
        let (sensor, random) = (&mut self.sensors[index], &mut self.random);
        let kind = sensor.kind;
        let mono_ms = due_ms + random.u64(0..=self.habits.jitter_ms);
        self.due.push(Reverse((due_ms + kind.every_ms, index)));
        self.mono_ms = self.mono_ms.max(mono_ms);
        if kind.chip == "contact" {
            if random.f64() < kind.wander {
                sensor.value = 1.0 - sensor.value.round();
            }
        } else {
            // Two dice: small steps are more frequent than large ones.
            let step = (random.f64() + random.f64() - 1.0) * kind.wander * 10_f64.powi(-kind.digits);
            sensor.value = (sensor.value + step).clamp(kind.low, kind.high);
        }
        let value = if self.habits.rounded {
            let power = 10_f64.powi(kind.digits);
            (sensor.value * power).round() / power
        } else {
            sensor.value
        };
        let quality = match (random.u32(0..FAULT_IN), random.u32(0..SUSPECT_IN)) {
            (0, _) => Quality::Fault,
            (_, 0) => Quality::Suspect,
            _ => Quality::Good,
        };
        Reading { series: index as u16, mono_ms, value: quality.has_value().then_some(value), quality }
    }

    /// The next frame of `count` readings: its sequence and its bytes.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] when so many readings do not fit; the sequence is then not used up.
    pub fn frame(&mut self, count: usize, codec: Codec) -> Result<(u64, Vec<u8>), EncodeError> {
        let batch = Payload::Readings(self.batch(count));
        let bytes = frame::encode(&self.id, self.store, self.sequence + 1, &batch, codec)?;
        self.sequence += 1;
        Ok((self.sequence, bytes))
    }

    /// The next announcement: who it is and what sensors it has.
    ///
    /// # Errors
    /// [`EncodeError`] with more sensors than a gateway may have.
    pub fn announcement(&mut self) -> Result<Vec<u8>, EncodeError> {
        let Some(place) = self.places.first().cloned() else { return Err(EncodeError::Dangling) };
        let sensors = self.sensors.iter().map(|s| SensorInfo {
            sensor: s.name.clone(),
            quantity: QuantityCode(s.kind.quantity),
            place: self.places.get(usize::from(s.place)).unwrap_or(&place).clone(),
            chip: s.kind.chip.into(),
            label: format!("{} ({})", s.name, self.id),
            every_ms: s.kind.every_ms as u32,
        });
        let announcement = Payload::Announcement(Announcement {
            boot: self.boot,
            clock: self.clock,
            mono_ms: self.mono_ms,
            version: env!("CARGO_PKG_VERSION").into(),
            board: "simulated".into(),
            sensors: sensors.collect(),
            place,
        });
        let bytes =
            frame::encode(&self.id, self.store, self.health_sequence + 1, &announcement, Codec::Zstd)?;
        self.health_sequence += 1;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Frame, Lane};

    fn street() -> Gateway {
        Gateway::new("street", 3, 24, SEED, 1_700_000_000_000, Habits::default()).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (mut a, mut b) = (street(), street());
        assert_eq!(a.frame(500, Codec::Zstd).unwrap(), b.frame(500, Codec::Zstd).unwrap());
        let mut c = Gateway::new("street", 3, 24, SEED + 1, 1_700_000_000_000, Habits::default()).unwrap();
        assert_ne!(a.frame(500, Codec::Zstd).unwrap(), c.frame(500, Codec::Zstd).unwrap());
    }

    #[test]
    fn frames_are_numbered_and_whole() {
        let mut street = street();
        for expected in 1..=3 {
            let (sequence, bytes) = street.frame(200, Codec::Zstd).unwrap();
            let frame = Frame::decode(&bytes).unwrap();
            assert_eq!((sequence, frame.sequence, frame.payload.items()), (expected, expected, 200));
        }
        let announcement = Frame::decode(&street.announcement().unwrap()).unwrap();
        assert_eq!((announcement.sequence, announcement.payload.lane()), (1, Lane::Health));
    }

    #[test]
    fn every_sensor_is_of_a_known_quantity_and_in_range() {
        let catalogue = configs::Catalogue::builtin();
        let mut street = street();
        let batch = street.batch(5_000);
        for reading in &batch.readings {
            let series = &batch.series[usize::from(reading.series)];
            let quantity = catalogue.get(series.quantity).unwrap();
            if let Some(value) = reading.value {
                assert!((quantity.min..=quantity.max).contains(&value), "{} {value}", quantity.name);
            }
        }
        assert!(batch.readings.iter().any(|reading| reading.quality == Quality::Fault));
    }
}
