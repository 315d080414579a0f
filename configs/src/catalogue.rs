//! The quantities a city measures: data, not code.

use std::collections::HashMap;

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
        for (file, text) in [
            ("air.toml", include_str!("../quantities/air.toml")),
            ("water.toml", include_str!("../quantities/water.toml")),
            ("fire.toml", include_str!("../quantities/fire.toml")),
            ("equipment.toml", include_str!("../quantities/equipment.toml")),
            ("place.toml", include_str!("../quantities/place.toml")),
        ] {
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
            let unit = entry.required("unit", |t| if t.is_empty() { Err("empty") } else { Ok(t.to_owned()) });
            let label_zh = entry.required("zh", |t| Ok::<_, String>(t.to_owned()));
            let label_en = entry.required("en", |t| Ok::<_, String>(t.to_owned()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_is_sound() {
        let catalogue = Catalogue::builtin();
        assert!(catalogue.all().len() >= 30);
        assert_eq!(catalogue.by_name("air-temperature").map(|q| q.unit.as_str()), Some("Cel"));
    }

    #[test]
    fn doubles_and_gaps_are_refused() {
        let mut catalogue = Catalogue::default();
        let entry = "[[quantity]]\ncode=1\nname='a'\nunit='1'\nzh='甲'\nen='A'\nmin=0\nmax=1\n";
        let problems = catalogue.add("q.toml", &format!("{entry}{entry}[[quantity]]\ncode=2\n")).unwrap_err();
        assert!(problems.to_string().contains("1 is taken"), "{problems}");
        assert!(problems.to_string().contains("quantity[2].name: missing"), "{problems}");
        assert!(catalogue.all().is_empty());
    }
}
