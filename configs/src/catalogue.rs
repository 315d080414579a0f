//! The quantities a city measures: data, not code.
//!
//! A file of `configs/quantities` is a field of the city's work and owns a range of numbers, with room to grow. What
//! is yes (1) or no (0) has unit `1`, min 0 and max 1. A comment behind `max` names the standard or the usual
//! instrument that the range goes by, from memory: read the standard before you quote it.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use wire::QuantityCode;

use crate::strict::{Document, Problems};

/// What a quantity may announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hazard {
    /// Nothing by itself.
    None,
    /// Fire.
    Fire,
    /// Flood.
    Flood,
    /// Gas and air.
    Air,
    /// The box itself.
    Equipment,
    /// Security of a place or a seal.
    Security,
    /// Something that stands comes down: a bridge, a wall, a slope.
    Collapse,
}

/// One kind of measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    /// Its number on the wire, never reused.
    pub code: QuantityCode,
    /// Its word in configuration, JSON and Parquet: `air-temperature`.
    pub name: String,
    /// Canonical unit in UCUM (<https://ucum.org>), case-sensitive form: `Cel`, `%`, `mm`.
    pub unit: String,
    /// Chinese label.
    pub label_zh: String,
    /// English label.
    pub label_en: String,
    /// Smallest value that can be: below is out of range, not merely low.
    pub min: f64,
    /// Largest value that can be.
    pub max: f64,
    /// Fastest plausible change per second; more is suspect.
    pub max_rate_per_s: Option<f64>,
    /// What it may announce.
    pub hazard: Hazard,
}

impl Quantity {
    /// Whether it only says yes (1) or no (0), as a contact does.
    pub fn is_yes_or_no(&self) -> bool {
        self.unit == "1" && self.min == 0.0 && self.max == 1.0
    }
}

/// The built-in files, and the numbers that each may give.
const FILES: [(&str, RangeInclusive<u16>, &str); 15] = [
    ("air.toml", 1..=49, include_str!("../quantities/air.toml")),
    ("weather.toml", 50..=99, include_str!("../quantities/weather.toml")),
    ("water.toml", 100..=149, include_str!("../quantities/water.toml")),
    ("water-quality.toml", 150..=199, include_str!("../quantities/water-quality.toml")),
    ("fire.toml", 200..=249, include_str!("../quantities/fire.toml")),
    ("gas.toml", 250..=299, include_str!("../quantities/gas.toml")),
    ("equipment.toml", 300..=399, include_str!("../quantities/equipment.toml")),
    ("place.toml", 400..=499, include_str!("../quantities/place.toml")),
    ("structures.toml", 500..=549, include_str!("../quantities/structures.toml")),
    ("ground.toml", 550..=599, include_str!("../quantities/ground.toml")),
    ("traffic.toml", 600..=699, include_str!("../quantities/traffic.toml")),
    ("power.toml", 700..=759, include_str!("../quantities/power.toml")),
    ("heat.toml", 760..=799, include_str!("../quantities/heat.toml")),
    ("emissions.toml", 800..=829, include_str!("../quantities/emissions.toml")),
    ("sites.toml", 830..=899, include_str!("../quantities/sites.toml")),
];

/// All known quantities.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    by_code: HashMap<QuantityCode, Quantity>,
    by_name: HashMap<String, QuantityCode>,
}

impl Catalogue {
    /// The catalogue built into this binary from `configs/quantities/*.toml`.
    ///
    /// # Panics
    /// Never in a build whose tests passed: they load the same files.
    pub fn builtin() -> Self {
        let mut all = Self::default();
        for (file, _, text) in FILES {
            if let Err(problems) = all.add(file, text) {
                panic!("the built-in catalogue is broken:\n{problems}");
            }
        }
        all
    }

    /// Adds the quantities of one file.
    ///
    /// # Errors
    /// Every mistake of the file; the catalogue is then unchanged.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Problems> {
        let document = Document::parse(file, text);
        let mut found: Vec<Quantity> = Vec::new();
        let mut root = document.root();
        for mut entry in root.sections("quantity") {
            let code = entry.required_integer("code", 1..=65_535);
            let name = entry.required("name", |t| wire::SensorName::new(t).map(|name| name.to_string()));
            let unit = entry.required("unit", words);
            let label_zh = entry.required("zh", words);
            let label_en = entry.required("en", words);
            let min = entry.required_number("min", -1e12..=1e12);
            let max = entry.required_number("max", -1e12..=1e12);
            let max_rate_per_s = entry.number("max_rate_per_s", 1e-9..=1e12);
            let hazard = entry
                .choice(
                    "hazard",
                    &[
                        ("none", Hazard::None),
                        ("fire", Hazard::Fire),
                        ("flood", Hazard::Flood),
                        ("air", Hazard::Air),
                        ("equipment", Hazard::Equipment),
                        ("security", Hazard::Security),
                        ("collapse", Hazard::Collapse),
                    ],
                )
                .unwrap_or(Hazard::None);
            let (Some(code), Some(name), Some(unit), Some(label_zh), Some(label_en), Some(min), Some(max)) =
                (code, name, unit, label_zh, label_en, min, max)
            else {
                continue;
            };
            let code = QuantityCode(code as u16);
            if min >= max {
                entry.problem("min", format!("min {min} must be below max {max}"));
            }
            if self.by_code.contains_key(&code) || found.iter().any(|other| other.code == code) {
                entry.problem("code", format!("{} is taken by another quantity", code.0));
            }
            if self.by_name.contains_key(&name) || found.iter().any(|other| other.name == name) {
                entry.problem("name", format!("{name:?} is taken by another quantity"));
            }
            found.push(Quantity { code, name, unit, label_zh, label_en, min, max, max_rate_per_s, hazard });
        }
        drop(root);
        let problems = document.finish();
        if !problems.0.is_empty() {
            return Err(problems);
        }
        for quantity in found {
            self.by_name.insert(quantity.name.clone(), quantity.code);
            self.by_code.insert(quantity.code, quantity);
        }
        Ok(())
    }

    /// The quantity with this number.
    pub fn get(&self, code: QuantityCode) -> Option<&Quantity> {
        self.by_code.get(&code)
    }

    /// The quantity with this word.
    pub fn by_name(&self, name: &str) -> Option<&Quantity> {
        self.by_name.get(name).and_then(|code| self.by_code.get(code))
    }

    /// All quantities, by number.
    pub fn all(&self) -> Vec<&Quantity> {
        let mut all: Vec<&Quantity> = self.by_code.values().collect();
        all.sort_by_key(|quantity| quantity.code);
        all
    }
}

/// A text that says something.
fn words(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("empty") } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Kinds of device that Chengdu counts: the catalogue must have words for them.
    const KINDS_OF_DEVICE: usize = 226;

    #[test]
    fn the_built_in_catalogue_is_sound() {
        let catalogue = Catalogue::builtin();
        assert!(catalogue.all().len() >= KINDS_OF_DEVICE, "{}", catalogue.all().len());
        assert_eq!(catalogue.by_name("air-temperature").map(|q| q.unit.as_str()), Some("Cel"));
    }

    #[test]
    fn a_file_gives_numbers_of_its_own_range_in_order() {
        let mut free = 1;
        for (file, range, text) in FILES {
            assert!(free <= *range.start(), "{file} overlaps the file before it");
            free = range.end() + 1;
            let title = text.lines().next().unwrap();
            assert!(title.ends_with(&format!(": {} to {}.", range.start(), range.end())), "{file}: {title}");

            let codes: Vec<u16> = text
                .lines()
                .filter_map(|line| line.strip_prefix("code = "))
                .map(|code| code.parse().unwrap())
                .collect();
            assert!(codes.is_sorted(), "{file}: not in order");
            assert!(codes.iter().all(|code| range.contains(code)), "{file}: a number outside {range:?}");
        }
    }

    #[test]
    fn labels_are_of_their_language_and_tell_quantities_apart() {
        let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        let (mut zh, mut en) = (BTreeSet::new(), BTreeSet::new());
        for quantity in Catalogue::builtin().all() {
            let Quantity { name, label_zh, label_en, .. } = quantity;
            assert!(is_chinese(label_zh), "{name}: {label_zh}");
            assert!(label_en.is_ascii(), "{name}: {label_en}");
            assert!(zh.insert(label_zh.clone()), "{name}: {label_zh} is the label of another quantity");
            assert!(en.insert(label_en.clone()), "{name}: {label_en} is the label of another quantity");
        }
    }

    #[test]
    fn a_rate_is_one_that_readings_can_break() {
        for quantity in Catalogue::builtin().all() {
            let range = quantity.max - quantity.min;
            assert!(quantity.max_rate_per_s.is_none_or(|rate| rate <= range), "{}", quantity.name);
        }
    }

    #[test]
    fn doubles_and_gaps_are_refused() {
        let mut catalogue = Catalogue::default();
        let entry = "[[quantity]]\ncode=1\nname='a'\nunit='1'\nzh='甲'\nen='A'\nmin=0\nmax=1\n";
        let problems =
            catalogue.add("q.toml", &format!("{entry}{entry}[[quantity]]\ncode=2\nzh=' '\n")).unwrap_err();
        assert!(problems.to_string().contains("1 is taken"), "{problems}");
        assert!(problems.to_string().contains("quantity[2].name: missing"), "{problems}");
        assert!(problems.to_string().contains("quantity[2].zh: empty"), "{problems}");
        assert!(catalogue.all().is_empty());
    }
}
