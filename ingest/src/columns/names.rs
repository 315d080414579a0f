//! What the numbers in rows stand for, while the rows are written.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::pool::names::{self, Texts};
use crate::pool::rows::{Head, Rows};
use crate::pool::sensors::Sensors;

/// Names of the gateways, sensors and districts of a stretch.
#[derive(Debug, Clone, Default)]
pub struct Names {
    gateways: HashMap<u32, String, RandomState>,
    sensors: Texts,
    /// By the area's number.
    districts: HashMap<u32, String>,
}

impl Names {
    /// The names of all rows.
    pub fn of(rows: &Rows, sensors: &Sensors) -> Self {
        let mut names = Self { sensors: sensors.texts().clone(), ..Self::default() };
        for alike in rows.heads().chunk_by(|a, b| (a.gateway, a.area) == (b.gateway, b.area)) {
            let Head { gateway, area, .. } = alike[0];
            let name = || sensors.gateway(gateway).map_or("", |id| id.as_str()).to_owned();
            names.gateways.entry(gateway).or_insert_with(name);
            names.districts.entry(area).or_insert_with(|| sensors.district(area).to_owned());
        }
        names
    }

    pub(super) fn gateway(&self, number: u32) -> &[u8] {
        self.gateways.get(&number).map_or(&[], |name| name.as_bytes())
    }

    pub(super) fn sensor(&self, place: u32) -> &[u8] {
        self.sensors.bytes(place)
    }

    pub(super) fn district(&self, area: u32) -> &str {
        self.districts.get(&area).map_or("unknown", String::as_str)
    }
}

/// Names remembered for repeats while files are merged: there are those of one district at a time.
const RECENT: usize = 1 << 14;

/// The names of files that are read, by the numbers of sensors: bounded by the sensors of a district.
#[derive(Debug)]
pub(super) struct Found {
    names: Names,
    gateways: HashMap<String, u32, RandomState>,
    texts: names::Names,
    /// Number of the gateway and place of the name.
    sensors: HashMap<u32, (u32, u32), RandomState>,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            names: Names::default(),
            gateways: HashMap::default(),
            texts: names::Names::remembering(RECENT),
            sensors: HashMap::default(),
        }
    }
}

impl Found {
    /// Number of a sensor's gateway and place of its name, once they were [added](Self::add).
    pub(super) fn places_of(&self, sensor: u32) -> Option<(u32, u32)> {
        self.sensors.get(&sensor).copied()
    }

    /// Adds a sensor; false when there are more names than a number can tell apart.
    pub(super) fn add(&mut self, sensor: u32, gateway: &str, name: &str) -> bool {
        let number = match self.gateways.get(gateway) {
            Some(&number) => number,
            None => {
                let number = self.gateways.len() as u32;
                self.gateways.insert(gateway.to_owned(), number);
                self.names.gateways.insert(number, gateway.to_owned());
                number
            }
        };
        let Some(place) = self.texts.place(name) else { return false };
        self.sensors.insert(sensor, (number, place));
        true
    }

    /// The names, for writing.
    pub(super) fn names(&mut self) -> &Names {
        self.names.sensors.clone_from(self.texts.texts());
        &self.names
    }
}
