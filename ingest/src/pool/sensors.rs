//! All sensors ever seen, in a dense table, each with its newest reading.

use std::collections::HashMap;

use bincode::{Decode, Encode};
use foldhash::fast::RandomState;
use wire::{Area, ClockState, GatewayId, Quality, QuantityCode, SensorInfo, SensorName};

/// Most sensors of one gateway or source: four times what one frame may name. More are quarantined, so that a gateway
/// gone mad cannot fill the memory with names.
pub const MAX_PER_GATEWAY: usize = 4096;

/// Most former areas remembered of a sensor: sensors are moved rarely.
const MAX_FORMER_AREAS: usize = 16;

/// The newest reading of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct Last {
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The value; `None` for a fault.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
    /// What the box knew of the time.
    pub clock: ClockState,
}

/// A sensor.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Sensor {
    /// Its gateway or source.
    pub gateway: GatewayId,
    /// Its name there.
    pub name: SensorName,
    /// What it measures.
    pub quantity: QuantityCode,
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
    /// Number of its area in [`Sensors::area`].
    pub area: u32,
    /// Numbers of the areas it was in before, newest last; its older readings lie in their districts.
    pub former_areas: Vec<u32>,
    /// What the installer wrote.
    pub label: String,
    /// The part that measures.
    pub chip: String,
    /// Its newest reading.
    pub last: Option<Last>,
}

impl Sensor {
    /// Its city-wide name.
    pub fn id(&self) -> String {
        format!("{}:{}", self.gateway, self.name)
    }
}

/// Where a sensor is and what it measures, as a message says.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// What it measures.
    pub quantity: QuantityCode,
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
    /// Where it belongs.
    pub area: &'a Area,
}

/// The table. A sensor's number is its place in it, given at first sight and kept for ever.
#[derive(Debug, Clone, Default)]
pub struct Sensors {
    rows: Vec<Sensor>,
    areas: Vec<Area>,
    numbers: HashMap<GatewayId, HashMap<SensorName, u32, RandomState>, RandomState>,
    area_numbers: HashMap<Area, u32, RandomState>,
    /// Numbers of sensors whose description changed since the database was told.
    changed: Vec<u32>,
}

impl Sensors {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The sensor with this number.
    pub fn get(&self, number: u32) -> Option<&Sensor> {
        self.rows.get(number as usize)
    }

    /// The number of a sensor.
    pub fn find(&self, gateway: &GatewayId, name: &SensorName) -> Option<u32> {
        self.numbers.get(gateway)?.get(name).copied()
    }

    /// All sensors, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Sensor> {
        self.rows.iter()
    }

    /// How many sensors a gateway has.
    pub fn count_of(&self, gateway: &GatewayId) -> usize {
        self.numbers.get(gateway).map_or(0, HashMap::len)
    }

    /// The area with this number.
    pub fn area(&self, number: u32) -> &str {
        self.areas.get(number as usize).map_or("", Area::as_str)
    }

    /// The district with this area number, for file names.
    pub fn district(&self, number: u32) -> &str {
        self.areas.get(number as usize).map_or("unknown", Area::district)
    }

    /// The districts that hold readings of a sensor, each once.
    pub fn districts_of(&self, sensor: &Sensor) -> Vec<String> {
        let areas = sensor.former_areas.iter().copied().chain([sensor.area]);
        let mut districts: Vec<String> = areas.map(|area| self.district(area).to_owned()).collect();
        districts.sort();
        districts.dedup();
        districts
    }

    /// The number of an area.
    pub fn area_number(&mut self, area: &Area) -> u32 {
        if let Some(&number) = self.area_numbers.get(area) {
            return number;
        }
        let number = self.areas.len() as u32;
        self.areas.push(area.clone());
        self.area_numbers.insert(area.clone(), number);
        number
    }

    /// The number of a sensor, given now when it is new; `None` when its gateway has too many.
    pub fn see(&mut self, gateway: &GatewayId, name: &SensorName, seen: &Sighting<'_>) -> Option<u32> {
        let area = self.area_number(seen.area);
        if let Some(number) = self.find(gateway, name) {
            let row = &mut self.rows[number as usize];
            let place = (row.quantity, row.lat_e7, row.lon_e7, row.area);
            if place != (seen.quantity, seen.lat_e7, seen.lon_e7, area) {
                if row.area != area {
                    row.former_areas.retain(|&former| former != row.area && former != area);
                    row.former_areas.push(row.area);
                    if row.former_areas.len() > MAX_FORMER_AREAS {
                        row.former_areas.remove(0);
                    }
                }
                (row.quantity, row.lat_e7, row.lon_e7, row.area) =
                    (seen.quantity, seen.lat_e7, seen.lon_e7, area);
                self.changed.push(number);
            }
            return Some(number);
        }
        let names = self.numbers.entry(gateway.clone()).or_default();
        if names.len() >= MAX_PER_GATEWAY {
            return None;
        }
        let number = u32::try_from(self.rows.len()).ok()?;
        names.insert(name.clone(), number);
        self.rows.push(Sensor {
            gateway: gateway.clone(),
            name: name.clone(),
            quantity: seen.quantity,
            lat_e7: seen.lat_e7,
            lon_e7: seen.lon_e7,
            area,
            former_areas: Vec::new(),
            label: String::new(),
            chip: String::new(),
            last: None,
        });
        self.changed.push(number);
        Some(number)
    }

    /// Takes label and chip from an announcement.
    pub fn describe(&mut self, number: u32, info: &SensorInfo) {
        if let Some(row) = self.rows.get_mut(number as usize)
            && (row.label != info.label || row.chip != info.chip)
        {
            row.label.clone_from(&info.label);
            row.chip.clone_from(&info.chip);
            self.changed.push(number);
        }
    }

    /// Keeps `reading` when it is the newest of its sensor. Of two at the same time the later arrival wins.
    pub fn reading(&mut self, number: u32, reading: Last) {
        if let Some(row) = self.rows.get_mut(number as usize)
            && row.last.is_none_or(|last| reading.at_ms >= last.at_ms)
        {
            row.last = Some(reading);
        }
    }

    /// Numbers of the sensors whose description changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// For the checkpoint.
    pub(super) fn parts(&self) -> (&[Sensor], &[Area]) {
        (&self.rows, &self.areas)
    }

    /// From the checkpoint.
    pub(super) fn from_parts(rows: Vec<Sensor>, areas: Vec<Area>) -> Self {
        let mut all = Self { rows, areas, ..Self::default() };
        for (number, row) in all.rows.iter().enumerate() {
            all.numbers.entry(row.gateway.clone()).or_default().insert(row.name.clone(), number as u32);
        }
        all.area_numbers = all.areas.iter().cloned().zip(0..).collect();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(area: &Area) -> Sighting<'_> {
        Sighting { quantity: QuantityCode(1), lat_e7: 1, lon_e7: 2, area }
    }

    #[test]
    fn numbers_are_given_once_and_survive_the_checkpoint() {
        let area = Area::new("chengdu/qingyang").unwrap();
        let gateway = GatewayId::new("g").unwrap();
        let name = |text: &str| SensorName::new(text).unwrap();
        let mut sensors = Sensors::default();
        assert_eq!(sensors.see(&gateway, &name("a"), &seen(&area)), Some(0));
        assert_eq!(sensors.see(&gateway, &name("b"), &seen(&area)), Some(1));
        assert_eq!(sensors.see(&gateway, &name("a"), &seen(&area)), Some(0));
        assert_eq!(sensors.take_changed(), [0, 1]);
        assert!(sensors.take_changed().is_empty());
        let moved = Sighting { lat_e7: 9, ..seen(&area) };
        sensors.see(&gateway, &name("b"), &moved);
        assert_eq!(sensors.take_changed(), [1]);
        let (rows, areas) = sensors.parts();
        let mut back = Sensors::from_parts(rows.to_vec(), areas.to_vec());
        assert_eq!(back.find(&gateway, &name("b")), Some(1));
        assert_eq!(back.district(back.get(1).unwrap().area), "qingyang");
        assert_eq!(back.see(&gateway, &name("c"), &seen(&area)), Some(2));
    }

    #[test]
    fn the_newest_reading_by_time_stays() {
        let gateway = GatewayId::new("g").unwrap();
        let mut sensors = Sensors::default();
        let number = sensors.see(&gateway, &SensorName::new("a").unwrap(), &seen(&Area::unknown())).unwrap();
        let reading = |at_ms, value| Last {
            at_ms,
            value: Some(value),
            quality: Quality::Good,
            clock: ClockState::Synchronised,
        };
        sensors.reading(number, reading(2000, 2.0));
        sensors.reading(number, reading(1000, 1.0));
        assert_eq!(sensors.get(number).unwrap().last.unwrap().value, Some(2.0), "late ones do not go back");
    }

    #[test]
    fn names_of_one_gateway_are_bounded() {
        let gateway = GatewayId::new("g").unwrap();
        let mut sensors = Sensors::default();
        for index in 0..MAX_PER_GATEWAY {
            let name = SensorName::new(&format!("s{index}")).unwrap();
            assert!(sensors.see(&gateway, &name, &seen(&Area::unknown())).is_some());
        }
        assert_eq!(sensors.see(&gateway, &SensorName::new("more").unwrap(), &seen(&Area::unknown())), None);
    }
}
