//! All sensors ever seen, in dense columns, each with its newest reading.
//!
//! 22 million of them have to fit beside everything else, so a sensor is 31 bytes here and three more in the table of
//! its gateway. Names of gateways, sensors and areas are numbers; what the installer wrote and which chip measures is
//! in SQL, and here only until SQL was told.

use std::collections::HashMap;
use std::hash::BuildHasher;

use bincode::{Decode, Encode};
use foldhash::fast::RandomState;
use wire::{Area, ClockState, GatewayId, Quality, QuantityCode, SensorInfo, SensorName};

use super::column::Column;
use super::holders::Holders;
use super::members::Members;
use super::names::{Names, Texts};
use super::newest::Newest;
use super::pages::Marks;
use super::unsaved::Unsaved;

pub use super::members::MAX_PER_GATEWAY;

/// Most former areas remembered of a sensor: sensors are moved rarely.
const MAX_FORMER_AREAS: usize = 16;
/// Most areas; a city has some thousands of communities. Beyond, an area is unknown.
const MAX_AREAS: usize = 1 << 16;

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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensor<'a> {
    /// Its number.
    pub number: u32,
    /// Its gateway or source.
    pub gateway: &'a GatewayId,
    /// Its name there.
    pub name: &'a str,
    /// What it measures.
    pub quantity: QuantityCode,
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
    /// Number of its area in [`Sensors::area`].
    pub area: u32,
    /// Its newest reading.
    pub last: Option<Last>,
}

impl Sensor<'_> {
    /// Its city-wide name.
    pub fn id(&self) -> String {
        format!("{}:{}", self.gateway, self.name)
    }
}

/// Where a sensor is and whether it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
    /// When its newest reading was taken, in milliseconds since 1970 UTC; `None` when there is none, or no usable one.
    pub well_ms: Option<i64>,
}

/// What the installer wrote and which part measures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// What the installer wrote.
    pub label: String,
    /// The part that measures.
    pub chip: String,
}

/// Where a sensor is and what it measures, as a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// What it measures.
    pub quantity: QuantityCode,
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
    /// Number of the area it belongs to, from [`Sensors::area_number`].
    pub area: u32,
}

/// What seldom changes of a sensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed {
    pub(super) name: u32,
    pub(super) lat_e7: i32,
    pub(super) lon_e7: i32,
    pub(super) quantity: QuantityCode,
    pub(super) area: u16,
}

impl Fixed {
    fn seen(&self) -> Sighting {
        let Self { quantity, lat_e7, lon_e7, area, .. } = *self;
        Sighting { quantity, lat_e7, lon_e7, area: u32::from(area) }
    }
}

/// A gateway with its sensors.
#[derive(Debug, Clone)]
struct Owner {
    id: GatewayId,
    members: Members,
    /// Fingerprint of its last announcement; 0 before the first.
    announced: u64,
}

/// The table. A sensor's number is its place in it, given at first sight and kept for ever.
#[derive(Debug, Clone, Default)]
pub struct Sensors {
    pub(super) fixed: Column<Fixed>,
    pub(super) newest: Column<Newest>,
    pub(super) holders: Holders,
    pub(super) names: Names,
    pub(super) marks: Marks,
    owners: Vec<Owner>,
    owner_numbers: HashMap<GatewayId, u32, RandomState>,
    areas: Vec<Area>,
    area_numbers: HashMap<Area, u32, RandomState>,
    /// Areas that a sensor was in before, newest last; its older readings lie in their districts.
    former_areas: HashMap<u32, Vec<u16>, RandomState>,
    /// How many sensors measure a quantity.
    counts: HashMap<QuantityCode, usize, RandomState>,
    pub(super) unsaved: Unsaved,
    hasher: RandomState,
}

impl Sensors {
    /// How many.
    pub fn len(&self) -> usize {
        self.fixed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty()
    }

    /// The sensor with this number.
    pub fn get(&self, number: u32) -> Option<Sensor<'_>> {
        let at = number as usize;
        let fixed = self.fixed.get(at)?;
        Some(Sensor {
            number,
            gateway: self.gateway(self.holders.of(number)?)?,
            name: self.names.get(fixed.name),
            quantity: fixed.quantity,
            lat_e7: fixed.lat_e7,
            lon_e7: fixed.lon_e7,
            area: u32::from(fixed.area),
            last: self.newest.get(at)?.last(),
        })
    }

    /// The number of a sensor.
    pub fn find(&self, gateway: &GatewayId, name: &SensorName) -> Option<u32> {
        let owner = self.owners.get(*self.owner_numbers.get(gateway)? as usize)?;
        let text = name.as_str().as_bytes();
        owner.members.find(self.hasher.hash_one(text), |number| self.name_of(number) == text)
    }

    /// All sensors, by number.
    pub fn iter(&self) -> impl Iterator<Item = Sensor<'_>> {
        (0..self.len() as u32).filter_map(|number| self.get(number))
    }

    /// The sensors from number `from` on, of one gateway or quantity if asked for, by number.
    pub fn select(
        &self,
        gateway: Option<&GatewayId>,
        quantity: Option<QuantityCode>,
        from: u32,
    ) -> Box<dyn Iterator<Item = Sensor<'_>> + '_> {
        let wanted = move |number: &u32| {
            let fixed = self.fixed.get(*number as usize);
            *number >= from
                && quantity.is_none_or(|quantity| fixed.is_some_and(|fixed| fixed.quantity == quantity))
        };
        match gateway {
            None => Box::new((from..self.len() as u32).filter(wanted).filter_map(|number| self.get(number))),
            Some(gateway) => {
                let owner =
                    self.owner_numbers.get(gateway).and_then(|&owner| self.owners.get(owner as usize));
                let numbers = owner.into_iter().flat_map(|owner| owner.members.numbers());
                Box::new(numbers.filter(wanted).filter_map(|number| self.get(number)))
            }
        }
    }

    /// Where the sensors from number `from` on are and whether they are well, `most` of them at most.
    pub fn sights(&self, from: u32, most: usize) -> Vec<Sight> {
        let columns = self.fixed.from(from as usize).zip(self.newest.from(from as usize));
        let sight = |(fixed, newest): (&Fixed, &Newest)| Sight {
            lat_e7: fixed.lat_e7,
            lon_e7: fixed.lon_e7,
            well_ms: newest.well_ms(),
        };
        columns.take(most).map(sight).collect()
    }

    /// How many sensors a gateway has.
    pub fn count_of(&self, gateway: &GatewayId) -> usize {
        let owner = self.owner_numbers.get(gateway).and_then(|&owner| self.owners.get(owner as usize));
        owner.map_or(0, |owner| owner.members.len())
    }

    /// How many sensors measure each quantity.
    pub fn counts(&self) -> &HashMap<QuantityCode, usize, RandomState> {
        &self.counts
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
    pub fn districts_of(&self, sensor: &Sensor<'_>) -> Vec<String> {
        let former = self.former_areas.get(&sensor.number).into_iter().flatten();
        let areas = former.map(|&area| u32::from(area)).chain([sensor.area]);
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
        if self.areas.len() + 1 >= MAX_AREAS && *area != Area::unknown() {
            return self.area_number(&Area::unknown());
        }
        let number = self.areas.len() as u32;
        self.areas.push(area.clone());
        self.area_numbers.insert(area.clone(), number);
        number
    }

    /// The number of a gateway or source, given when it is new.
    pub fn owner(&mut self, gateway: &GatewayId) -> u32 {
        if let Some(&number) = self.owner_numbers.get(gateway) {
            return number;
        }
        let number = self.owners.len() as u32;
        self.owners.push(Owner { id: gateway.clone(), members: Members::default(), announced: 0 });
        self.owner_numbers.insert(gateway.clone(), number);
        number
    }

    /// The number of a sensor of the gateway with number `owner`, given now when it is new; `None` when the gateway
    /// has too many, or names too many different names.
    pub fn see(&mut self, owner: u32, name: &SensorName, seen: &Sighting) -> Option<u32> {
        match self.known(owner, name) {
            Some(number) => {
                self.moved(number, seen);
                Some(number)
            }
            None => self.add(owner, name, seen),
        }
    }

    /// Takes down where a known sensor is now.
    fn moved(&mut self, number: u32, seen: &Sighting) {
        let Some(fixed) = self.fixed.get_mut(number as usize) else { return };
        if fixed.seen() == *seen {
            return;
        }
        let area = seen.area as u16;
        if fixed.area != area {
            let former = self.former_areas.entry(number).or_default();
            former.retain(|&before| before != fixed.area && before != area);
            former.push(fixed.area);
            if former.len() > MAX_FORMER_AREAS {
                former.remove(0);
            }
        }
        if fixed.quantity != seen.quantity {
            if let Some(count) = self.counts.get_mut(&fixed.quantity) {
                *count -= 1;
            }
            *self.counts.entry(seen.quantity).or_default() += 1;
        }
        *fixed = Fixed { lat_e7: seen.lat_e7, lon_e7: seen.lon_e7, quantity: seen.quantity, area, ..*fixed };
        self.marks.fixed(number as usize);
        self.unsaved.note(number);
    }

    fn add(&mut self, owner: u32, name: &SensorName, seen: &Sighting) -> Option<u32> {
        let number = u32::try_from(self.len()).ok()?;
        if self.owners.get(owner as usize)?.members.len() >= MAX_PER_GATEWAY {
            return None;
        }
        let row = Fixed {
            name: self.names.place(name.as_str())?,
            lat_e7: seen.lat_e7,
            lon_e7: seen.lon_e7,
            quantity: seen.quantity,
            area: seen.area as u16,
        };
        self.put_back_row(owner, row, Newest::NONE)?;
        self.unsaved.note(number);
        Some(number)
    }

    /// Adds a row with the next number; `None` when it belongs to nobody, or its gateway has too many.
    pub(super) fn put_back_row(&mut self, owner: u32, row: Fixed, newest: Newest) -> Option<()> {
        let number = u32::try_from(self.len()).ok()?;
        let Self { fixed, names, owners, hasher, .. } = self;
        let members = &mut owners.get_mut(owner as usize)?.members;
        fixed.push(row);
        let hash_of = |number: u32| {
            hasher.hash_one(fixed.get(number as usize).map_or(&[][..], |fixed| names.bytes(fixed.name)))
        };
        if !members.add(number, hash_of) {
            fixed.pop();
            return None;
        }
        self.newest.push(newest);
        self.holders.add(number, owner);
        self.marks.fixed(number as usize);
        *self.counts.entry(row.quantity).or_default() += 1;
        Some(())
    }

    fn name_of(&self, number: u32) -> &[u8] {
        self.fixed.get(number as usize).map_or(&[], |fixed| self.names.bytes(fixed.name))
    }

    /// Notes what a gateway announced, by a fingerprint; false when it announced the same before. The words of its
    /// sensors need not be taken again then.
    pub fn announced(&mut self, owner: u32, fingerprint: u64) -> bool {
        let Some(owner) = self.owners.get_mut(owner as usize) else { return false };
        std::mem::replace(&mut owner.announced, fingerprint) != fingerprint
    }

    /// Takes label and chip from an announcement.
    pub fn describe(&mut self, number: u32, info: &SensorInfo) {
        self.unsaved.describe(number, Words { label: info.label.clone(), chip: info.chip.clone() });
    }

    /// Label and chip of a sensor that the database was not told yet.
    pub fn new_words(&self, number: u32) -> Option<&Words> {
        self.unsaved.words(number)
    }

    /// Keeps `reading` when it is the newest of its sensor. Of two at the same time the later arrival wins.
    pub fn reading(&mut self, number: u32, reading: Last) {
        let at = number as usize;
        if let Some(newest) = self.newest.get_mut(at)
            && (*newest == Newest::NONE || reading.at_ms >= newest.parts().0)
        {
            *newest = Newest::of(&reading);
            self.marks.newest(at);
        }
    }

    /// Where the name of a sensor is to be looked up in [`Sensors::texts`].
    pub(super) fn place_of_name(&self, number: u32) -> u32 {
        self.fixed.get(number as usize).map_or(u32::MAX, |fixed| fixed.name)
    }

    /// The gateway or source with this number.
    pub fn gateway(&self, number: u32) -> Option<&GatewayId> {
        self.owners.get(number as usize).map(|owner| &owner.id)
    }

    /// The names of all sensors, to look at.
    pub fn texts(&self) -> &Texts {
        self.names.texts()
    }

    /// Takes down as told what the database was to be told; for benches.
    pub fn forget_changes(&mut self) {
        self.unsaved.clear();
    }

    /// Bytes of the table in memory: the columns, the names and the tables of the gateways.
    pub fn memory_bytes(&self) -> usize {
        let columns = self.fixed.memory_bytes() + self.newest.memory_bytes() + self.holders.memory_bytes();
        let owners = self.owners.iter().map(|owner| size_of::<GatewayId>() + owner.members.memory_bytes());
        columns + self.names.memory_bytes() + owners.sum::<usize>()
    }

    /// Areas by number and former areas by sensor, for the checkpoint.
    pub(super) fn area_parts(&self) -> (&[Area], &HashMap<u32, Vec<u16>, RandomState>) {
        (&self.areas, &self.former_areas)
    }

    /// Gateways by number, each with the fingerprint of its last announcement.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&GatewayId, u64)> {
        self.owners.iter().map(|owner| (&owner.id, owner.announced))
    }

    /// Puts back which areas sensors were in before.
    pub(super) fn put_back_former(&mut self, former_areas: Vec<(u32, Vec<u16>)>) {
        self.former_areas = former_areas.into_iter().collect();
    }

    /// The number of a sensor that is known, of the gateway with number `owner`.
    pub(super) fn known(&mut self, owner: u32, name: &SensorName) -> Option<u32> {
        let Self { fixed, names, owners, hasher, .. } = self;
        let members = &mut owners.get_mut(owner as usize)?.members;
        let text = name.as_str().as_bytes();
        let is_it =
            |number: u32| fixed.get(number as usize).is_some_and(|fixed| names.bytes(fixed.name) == text);
        members.find_next(|| hasher.hash_one(text), is_it)
    }

    /// Puts a sensor back that had the next number; false when it is one too many.
    pub(super) fn put_back(&mut self, name: &SensorName, sensor: &Sensor<'_>, former_areas: &[u16]) -> bool {
        let owner = self.owner(sensor.gateway);
        let &Sensor { quantity, lat_e7, lon_e7, area, last, .. } = sensor;
        let Some(number) = self.add(owner, name, &Sighting { quantity, lat_e7, lon_e7, area }) else {
            return false;
        };
        if !former_areas.is_empty() {
            self.former_areas.insert(number, former_areas.to_vec());
        }
        if let Some(last) = last {
            self.reading(number, last);
        }
        self.unsaved.clear();
        self.marks.write_all();
        true
    }
}

#[cfg(test)]
#[path = "sensors_tests.rs"]
mod tests;
