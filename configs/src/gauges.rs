//! The gauges of a gateway's health messages: what their names mean.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::strict::{Document, Problems};

/// One gauge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauge {
    /// Its unit in UCUM (<https://ucum.org>); `1` for a count.
    pub unit: String,
    /// Chinese label.
    pub label_zh: String,
    /// English label.
    pub label_en: String,
}

/// All known gauges, by name; `*` in a name stands for any text.
#[derive(Debug, Clone, Default)]
pub struct Gauges(BTreeMap<String, Gauge>);

impl Gauges {
    /// The gauges built into this binary from `configs/gauges.toml`.
    ///
    /// # Panics
    /// Never in a build whose tests passed: they load the same file.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Gauges> = LazyLock::new(|| {
            Gauges::parse("gauges.toml", include_str!("../gauges.toml"))
                .unwrap_or_else(|problems| panic!("the built-in gauges are broken:\n{problems}"))
        });
        &BUILTIN
    }

    fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text);
        let mut all = BTreeMap::new();
        let mut root = document.root();
        for mut entry in root.sections("gauge") {
            let filled = |text: &str| if text.is_empty() { Err("empty") } else { Ok(text.to_owned()) };
            let name = entry.required("name", filled);
            let unit = entry.required("unit", filled);
            let label_zh = entry.required("zh", filled);
            let label_en = entry.required("en", filled);
            let (Some(name), Some(unit), Some(label_zh), Some(label_en)) = (name, unit, label_zh, label_en)
            else {
                continue;
            };
            if all.contains_key(&name) {
                entry.problem("name", format!("{name:?} is there twice"));
            }
            all.insert(name, Gauge { unit, label_zh, label_en });
        }
        drop(root);
        let problems = document.finish();
        if problems.0.is_empty() { Ok(Self(all)) } else { Err(problems) }
    }

    /// What `name` means, and what its `*` stands for, if it has one.
    pub fn get<'n>(&self, name: &'n str) -> Option<(&Gauge, Option<&'n str>)> {
        if let Some(gauge) = self.0.get(name) {
            return Some((gauge, None));
        }
        self.0.iter().find_map(|(pattern, gauge)| {
            let (before, after) = pattern.split_once('*')?;
            Some((gauge, Some(name.strip_prefix(before)?.strip_suffix(after)?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_also_by_their_pattern() {
        let gauges = Gauges::builtin();
        let (gauge, part) = gauges.get("buffer.hours_left").unwrap();
        assert_eq!((gauge.unit.as_str(), part), ("h", None));
        let (gauge, part) = gauges.get("bus./dev/i2c-1.errors").unwrap();
        assert_eq!((gauge.label_en.as_str(), part), ("Errors of a bus", Some("/dev/i2c-1")));
        assert_eq!(gauges.get("bus.errors"), None);
        assert_eq!(gauges.get("warp.factor"), None);
    }

    #[test]
    fn a_wrong_file_is_refused() {
        let entry = "[[gauge]]\nname = 'a'\nunit = '1'\nzh = '甲'\nen = 'A'\n";
        assert!(Gauges::parse("t", entry).is_ok());
        assert!(Gauges::parse("t", &entry.repeat(2)).is_err(), "twice");
        assert!(Gauges::parse("t", &entry.replace("'1'", "''")).is_err(), "no unit");
        assert!(Gauges::parse("t", &entry.replace("zh", "cn")).is_err(), "a stranger");
    }
}
