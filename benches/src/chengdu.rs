//! A city of Chengdu's size that nobody has to keep in memory: every gateway, device and reading is a function of the
//! seed and its number.
//!
//! 23 districts, and every quantity of the catalogue. A gateway stands for a compound: eight buildings, six kinds of
//! device, as in a street where one kind of smoke detector hangs everywhere. Each device is polled once a minute, one
//! after the other; its gateway sends what came every ten seconds. Values of one kind lie around the level of their
//! compound, drift smoothly, and are rounded as chips round them, which is what decides how many bytes they take.

use configs::{Catalogue, Quantity};
use wire::{
    Area, Batch, BootId, Clock, ClockState, Codec, Datum, EncodeError, GatewayId, NameError, Payload, Place,
    Quality, Reading, SensorName, Series, frame,
};

/// Districts with the latitude and longitude of their seats, in degrees WGS-84, to a few kilometres.
const DISTRICTS: [(&str, f64, f64); 23] = [
    ("jinjiang", 30.60, 104.12),
    ("qingyang", 30.67, 104.03),
    ("jinniu", 30.72, 104.05),
    ("wuhou", 30.62, 104.03),
    ("chenghua", 30.68, 104.14),
    ("longquanyi", 30.57, 104.27),
    ("qingbaijiang", 30.88, 104.25),
    ("xindu", 30.82, 104.16),
    ("wenjiang", 30.70, 103.84),
    ("shuangliu", 30.57, 103.92),
    ("pidu", 30.81, 103.89),
    ("xinjin", 30.41, 103.81),
    ("jianyang", 30.39, 104.55),
    ("dujiangyan", 30.99, 103.63),
    ("pengzhou", 30.99, 103.94),
    ("qionglai", 30.41, 103.46),
    ("chongzhou", 30.63, 103.67),
    ("jintang", 30.86, 104.43),
    ("dayi", 30.59, 103.52),
    ("pujiang", 30.20, 103.51),
    ("tianfu", 30.42, 104.08),
    ("gaoxin", 30.58, 104.06),
    ("dongbu", 30.30, 104.45),
];

/// A minute, and how often a gateway sends, in ms.
pub const MINUTE_MS: u64 = 60_000;
/// See [`MINUTE_MS`].
pub const SLOT_MS: u64 = 10_000;
/// Frames of a gateway each minute.
pub const SLOTS: u32 = (MINUTE_MS / SLOT_MS) as u32;
/// Most devices of a gateway: a slot's devices must fit into one frame.
pub const MAX_DEVICES: u32 = 4_000;
/// Buildings of a gateway, and the most there may be: a frame names no more.
pub const PLACES: u32 = 8;
/// See [`PLACES`].
pub const MAX_PLACES: u32 = 64;
/// Kinds of device of a gateway.
const KINDS: u32 = 6;
/// Distance between neighbouring gateways and between a gateway's buildings, in degrees: 550 m and 160 m, so that
/// buildings lie in geohash cells of precision 7 of their own.
const GATEWAY_STEP: f64 = 0.005;
const PLACE_STEP: f64 = 0.0015;
/// Around their seats districts lie over one another in part, as compounds of several owners do. Those that reach further
/// north than so many degrees would lie there altogether: they lie side by side, so many in a row, from the south-west
/// corner of the city on.
const WIDEST_DISTRICT: f64 = 0.5;
const DISTRICTS_PER_ROW: usize = 5;
const CORNER: (f64, f64) = (30.0, 103.0);
/// Minutes from one hashed point of a device's curve to the next.
const POINT_MINUTES: u64 = 16;
/// Most that a poll is late, in ms.
const MAX_LATE_MS: u64 = 2;
/// One reading in so many is no good: half are faults, half cannot be (out of every range).
const BAD_IN: u64 = 100;

/// Most steps that a device tells apart within its range: meters show six digits that matter.
const MOST_STEPS: f64 = 1e6;

/// The city of a seed.
#[derive(Debug)]
pub struct City {
    seed: u64,
    gateways: u32,
    devices: u32,
    places: u32,
    /// Wall time of minute 0, in ms since 1970 UTC.
    epoch_ms: i64,
    quantities: Vec<Quantity>,
    areas: Vec<Area>,
}

/// Mixes numbers into one (the finaliser of SplitMix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// From 0 to 1.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

impl City {
    /// A city of `gateways` with `devices` each, at most [`MAX_DEVICES`]; `epoch_ms` is the wall time of its minute 0.
    ///
    /// # Errors
    /// [`NameError`], which the names here do not cause.
    pub fn new(seed: u64, gateways: u32, devices: u32, epoch_ms: i64) -> Result<Self, NameError> {
        let quantities = Catalogue::builtin().all().into_iter().cloned().collect();
        let areas = DISTRICTS
            .iter()
            .map(|(name, ..)| Area::new(&format!("chengdu/{name}")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            seed,
            gateways,
            devices: devices.min(MAX_DEVICES),
            places: PLACES,
            epoch_ms,
            quantities,
            areas,
        })
    }

    /// The same city with `places` buildings of each gateway, from 1 to [`MAX_PLACES`].
    pub fn with_places(self, places: u32) -> Self {
        Self { places: places.clamp(1, MAX_PLACES), ..self }
    }

    /// How many gateways.
    pub fn gateways(&self) -> u32 {
        self.gateways
    }

    /// Name of a gateway.
    ///
    /// # Errors
    /// [`NameError`], which the names here do not cause.
    pub fn id(&self, gateway: u32) -> Result<GatewayId, NameError> {
        GatewayId::new(&format!("cd-{:08x}-{gateway:06}", self.seed as u32))
    }

    /// Number of its store.
    pub fn store(&self, gateway: u32) -> u64 {
        (mix(self.seed, u64::from(gateway)) >> 12) + 1
    }

    /// Where in the minute it sends, in ms from the end of a slot: not all at once.
    pub fn phase_ms(&self, gateway: u32) -> u64 {
        mix(self.seed ^ 1, u64::from(gateway)) % SLOT_MS
    }

    /// How many districts.
    pub fn districts(&self) -> u32 {
        self.areas.len() as u32
    }

    /// West, south, east and north of the gateways of a district, in degrees.
    pub fn bounds(&self, district: u32) -> [f64; 4] {
        let gateways = (district..self.gateways).step_by(DISTRICTS.len());
        let places = gateways.flat_map(|gateway| self.places(gateway));
        places.fold([180.0, 90.0, -180.0, -90.0_f64], |[west, south, east, north], place| {
            let (lat, lon) = (f64::from(place.lat_e7) / 1e7, f64::from(place.lon_e7) / 1e7);
            [west.min(lon), south.min(lat), east.max(lon), north.max(lat)]
        })
    }

    /// Where a gateway's devices are.
    pub fn places(&self, gateway: u32) -> Vec<Place> {
        let district = gateway as usize % DISTRICTS.len();
        let (_, lat, lon) = DISTRICTS[district];
        let nth = gateway / DISTRICTS.len() as u32;
        let per_row = (self.gateways / DISTRICTS.len() as u32).isqrt() + 1;
        let (row, column) = (nth / per_row, nth % per_row);
        // More than eight buildings reach further north than the next gateway's step.
        let step = GATEWAY_STEP.max(f64::from(self.places.div_ceil(4)) * PLACE_STEP);
        let (high, wide) = (f64::from(per_row) * step, f64::from(per_row) * 2.0 * GATEWAY_STEP);
        let (lat, lon) = if high > WIDEST_DISTRICT {
            let (row, column) = (district / DISTRICTS_PER_ROW, district % DISTRICTS_PER_ROW);
            (CORNER.0 + row as f64 * high, CORNER.1 + column as f64 * wide)
        } else {
            (lat, lon)
        };
        (0..self.places)
            .map(|n| {
                let lat = lat + f64::from(row) * step + f64::from(n / 4) * PLACE_STEP;
                let lon = lon + f64::from(column) * 2.0 * GATEWAY_STEP + f64::from(n % 4) * PLACE_STEP;
                Place {
                    lat_e7: (lat * 1e7).round() as i32,
                    lon_e7: (lon * 1e7).round() as i32,
                    datum: Datum::Wgs84,
                    area: self.areas[district].clone(),
                }
            })
            .collect()
    }

    /// Which of its gateway's kinds a device is of: devices of a kind hang on one bus.
    fn kind(&self, device: u32) -> u32 {
        device * KINDS / self.devices.max(1)
    }

    fn quantity(&self, gateway: u32, device: u32) -> &Quantity {
        let hash = mix(self.seed ^ 2, u64::from(gateway) << 8 | u64::from(self.kind(device)));
        // Some kinds are far more common than others.
        let skewed = unit(hash).powi(2) * self.quantities.len() as f64;
        &self.quantities[skewed as usize]
    }

    /// Readings of one gateway in slot `slot` of minute `minute`, one for each device whose moment lies in it.
    ///
    /// # Errors
    /// [`NameError`], which the names here do not cause.
    pub fn batch(&self, gateway: u32, minute: u64, slot: u32) -> Result<Batch, NameError> {
        let count = self.devices.div_ceil(SLOTS) as usize;
        let (mut series, mut readings) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let start_ms = minute * MINUTE_MS + u64::from(slot) * SLOT_MS;
        for device in (slot..self.devices).step_by(SLOTS as usize) {
            let quantity = self.quantity(gateway, device);
            let word = quantity.name.split('-').next().unwrap_or("device");
            let own = mix(self.seed ^ 3, u64::from(gateway) << 32 | u64::from(device));
            let common = mix(self.seed ^ 5, u64::from(gateway) << 8 | u64::from(self.kind(device)));
            let (value, quality) = self.value(quantity, own, common, minute);
            // Polled in turn, and a little late, as buses are.
            let polled_ms = readings.len() as u64 * (SLOT_MS - MAX_LATE_MS) / count as u64;
            let late_ms = mix(own, minute) % (MAX_LATE_MS + 1);
            let mono_ms = start_ms + polled_ms + late_ms;
            readings.push(Reading { series: series.len() as u16, mono_ms, value, quality });
            series.push(Series {
                sensor: SensorName::new(&format!("{word}.{device:04}"))?,
                quantity: quantity.code,
                place: (device % self.places) as u16,
            });
        }
        Ok(Batch {
            boot: BootId(own_boot(self.seed, gateway)),
            clock: self.clock(),
            places: self.places(gateway),
            series,
            readings,
        })
    }

    fn clock(&self) -> Clock {
        Clock { state: ClockState::Synchronised, epoch_ms: self.epoch_ms }
    }

    fn value(&self, quantity: &Quantity, own: u64, common: u64, minute: u64) -> (Option<f64>, Quality) {
        match mix(own, minute ^ 0x5eed) % (2 * BAD_IN) {
            0 => return (None, Quality::Fault),
            1 => return (Some(quantity.max + 1.0), Quality::Good),
            _ => {}
        }
        let between = (minute % POINT_MINUTES) as f64 / POINT_MINUTES as f64;
        let drift = |hash: u64| {
            let [from, to] = [0, 1].map(|next| unit(mix(hash, minute / POINT_MINUTES + next)));
            from + (to - from) * between - 0.5
        };
        // The compound moves by a tenth of the range around a level of its own, a device by a fiftieth around that.
        let range = quantity.max - quantity.min;
        let level = quantity.min + range * (0.2 + 0.5 * unit(common) + 0.1 * drift(common));
        let value = level + range * (0.02 * drift(own));
        (Some(as_told(quantity, value)), Quality::Good)
    }

    /// The same as a frame; its number counts a gateway's slots from 1.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] with too many devices.
    pub fn frame(&self, gateway: u32, id: &GatewayId, minute: u64, slot: u32) -> anyhow::Result<Vec<u8>> {
        let sequence = minute * u64::from(SLOTS) + u64::from(slot) + 1;
        let batch = Payload::Readings(self.batch(gateway, minute, slot)?);
        let frame: Result<_, EncodeError> =
            frame::encode(id, self.store(gateway), sequence, &batch, Codec::Zstd);
        Ok(frame?)
    }

    /// How many devices report in one slot.
    pub fn devices_of(&self, slot: u32) -> u32 {
        (self.devices + SLOTS - 1 - slot) / SLOTS
    }
}

/// A value as a device of this quantity tells it: yes or no, tenths or hundredths where the range is small, and no
/// more than a million steps where it is large.
fn as_told(quantity: &Quantity, value: f64) -> f64 {
    let range = quantity.max - quantity.min;
    if range > MOST_STEPS {
        let step = 10_f64.powi((range / MOST_STEPS).log10().ceil() as i32);
        return (value / step).round() * step;
    }
    let steps = if quantity.is_yes_or_no() || range > 1_000.0 {
        1.0
    } else if range > 20.0 {
        10.0
    } else {
        100.0
    };
    (value * steps).round() / steps
}

fn own_boot(seed: u64, gateway: u32) -> u64 {
    mix(seed ^ 4, u64::from(gateway))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_device_reports_once_a_minute_and_frames_are_what_the_seed_says() {
        let city = City::new(7, 46, 100, 1_780_272_000_000).unwrap();
        let mut names = BTreeSet::new();
        let mut readings = 0;
        for slot in 0..SLOTS {
            let batch = city.batch(3, 5, slot).unwrap();
            assert_eq!(batch.readings.len() as u32, city.devices_of(slot));
            readings += batch.readings.len();
            names.extend(batch.series.iter().map(|series| series.sensor.clone()));
            let from_ms = 5 * MINUTE_MS + u64::from(slot) * SLOT_MS;
            assert!(batch.readings.iter().all(|r| (from_ms..from_ms + SLOT_MS).contains(&r.mono_ms)));
        }
        assert_eq!((readings, names.len()), (100, 100));
        let id = city.id(3).unwrap();
        let bytes = city.frame(3, &id, 5, 2).unwrap();
        assert_eq!(bytes, City::new(7, 46, 100, 1_780_272_000_000).unwrap().frame(3, &id, 5, 2).unwrap());
        assert_ne!(bytes, City::new(8, 46, 100, 1_780_272_000_000).unwrap().frame(3, &id, 5, 2).unwrap());
        let frame = wire::Frame::decode(&bytes).unwrap();
        assert_eq!(frame.sequence, 33);
    }

    #[test]
    fn values_are_rounded_as_devices_tell_them() {
        let catalogue = Catalogue::builtin();
        for (name, value, told) in [
            ("door-open", 0.37, 0.0),
            ("door-open", 0.62, 1.0),
            ("power-factor", 0.937_2, 0.94),
            ("air-temperature", 21.537, 21.5),
            ("water-level", 1_234.56, 1_235.0),
            ("illuminance", 86_420.4, 86_420.0),
            ("uptime", 1_234_567_890.0, 1_234_570_000.0),
            ("reservoir-storage", 39_301_234_567.0, 39_301_200_000.0),
        ] {
            assert_eq!(as_told(catalogue.by_name(name).unwrap(), value), told, "{value} of {name}");
        }
    }

    #[test]
    fn a_district_holds_its_gateways() {
        let city = City::new(7, 100, 10, 0).unwrap();
        let [west, south, east, north] = city.bounds(1);
        assert!(west < 104.04 && 104.03 < east && south < 30.68 && 30.67 < north);
        let place = &city.places(24)[0];
        assert_eq!(place.area.as_str(), "chengdu/qingyang");
        assert!((south..=north).contains(&(f64::from(place.lat_e7) / 1e7)));
    }

    #[test]
    fn the_largest_gateway_fits_its_frames() {
        let city = City::new(1, 100, MAX_DEVICES, 0).unwrap();
        let id = city.id(99).unwrap();
        for minute in 0..20 {
            assert!(city.frame(99, &id, minute, 0).is_ok());
        }
    }
}
