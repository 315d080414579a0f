//! Mapping files: what the names of a third party mean.
//!
//! One TOML file per source, `configs/senml/{anything}.toml`. A file says who sends (`source`), where things are
//! and in which datum, and for each name what it measures. See `configs/senml/river-works.toml` for a commented
//! one. Every mistake of every file is reported at once.

use std::collections::BTreeMap;
use std::path::Path;

use configs::{Catalogue, Document, Problems, Quantity, Section};
use wire::{Area, Datum, GatewayId, Place, QuantityCode, SensorName};

use super::MappedReading;
use super::record::Record;
use crate::normalise;

/// Most rules in one file: each record is held against them in order.
pub const MAX_RULES: usize = 1000;

/// All mapping files, by source.
#[derive(Debug, Clone, Default)]
pub struct Mappings(BTreeMap<GatewayId, Mapping>);

/// One mapping file.
#[derive(Debug, Clone)]
pub struct Mapping {
    rules: Vec<Rule>,
}

/// What one name, or one family of names, means.
#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    quantity: QuantityCode,
    sensor: String,
    place: Place,
    unit: Unit,
}

/// Which unit the values are in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    /// As the record says; a record that does not is refused.
    Told,
    /// As the record says, this one where it does not.
    Assumed(String),
    /// This one, whatever the record says.
    Always(String),
}

/// A name with at most one `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    prefix: String,
    suffix: Option<String>,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, String> {
        match text.split_once('*') {
            _ if text.is_empty() => Err("a name or a pattern with one * expected, found nothing".into()),
            None => Ok(Self { prefix: text.into(), suffix: None }),
            Some((_, after)) if after.contains('*') => {
                Err(format!("{text:?} has more than one *: at most one expected"))
            }
            Some((before, after)) => Ok(Self { prefix: before.into(), suffix: Some(after.into()) }),
        }
    }

    /// What the `*` stands for in `name`, empty without one; `None` when the name does not fit.
    fn matches<'n>(&self, name: &'n str) -> Option<&'n str> {
        match &self.suffix {
            None => (name == self.prefix).then_some(""),
            Some(suffix) => name
                .strip_prefix(self.prefix.as_str())?
                .strip_suffix(suffix.as_str())
                .filter(|part| !part.is_empty()),
        }
    }
}

impl Mappings {
    /// Reads all `*.toml` files of a folder, in the order of their names.
    ///
    /// # Errors
    /// Every mistake of every file, and a folder or file that cannot be read.
    pub fn load(folder: &Path, catalogue: &Catalogue) -> Result<Self, Problems> {
        let problem = |file: &Path, message: String| configs::strict::Problem {
            file: file.display().to_string(),
            line: 0,
            key: String::new(),
            message,
        };
        let listed = std::fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
        let mut paths = match listed {
            Ok(paths) => paths,
            Err(error) => {
                let message =
                    format!("cannot list the mapping files: {error}; a folder of *.toml files expected");
                return Err(Problems(vec![problem(folder, message)]));
            }
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let mut mappings = Self::default();
        let mut problems = Vec::new();
        for path in paths {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    if let Err(found) = mappings.add(&path.display().to_string(), &text, catalogue) {
                        problems.extend(found.0);
                    }
                }
                Err(error) => problems.push(problem(&path, format!("cannot be read: {error}"))),
            }
        }
        if problems.is_empty() { Ok(mappings) } else { Err(Problems(problems)) }
    }

    /// Adds one mapping file.
    ///
    /// # Errors
    /// Every mistake of the file; nothing is added then.
    pub fn add(&mut self, file: &str, text: &str, catalogue: &Catalogue) -> Result<(), Problems> {
        let document = Document::parse(file, text);
        let mut root = document.root();
        let source = root.required("source", GatewayId::new);
        if let Some(source) = &source
            && self.0.contains_key(source)
        {
            root.problem("source", format!("{:?} is mapped by another file already", source.as_str()));
        }
        let default_place = read_place(&mut root, None);
        let mut rules: Vec<Rule> = Vec::new();
        let sections = root.sections("map");
        if sections.is_empty() {
            root.problem("map", "no rule: at least one [[map]] expected");
        }
        if sections.len() > MAX_RULES {
            root.problem("map", format!("{} rules, at most {MAX_RULES} are accepted", sections.len()));
        }
        for mut section in sections {
            if let Some(rule) = Rule::read(&mut section, default_place.as_ref(), catalogue) {
                if let Some(other) = rules.iter().find(|other| other.sensor == rule.sensor) {
                    let message = format!(
                        "{:?} is also what {:?} becomes: one sensor, one quantity",
                        rule.sensor, other.pattern.prefix
                    );
                    section.problem("sensor", message);
                }
                rules.push(rule);
            }
        }
        drop(root);
        let problems = document.finish();
        match (source, problems.0.is_empty()) {
            (Some(source), true) => {
                self.0.insert(source, Mapping { rules });
                Ok(())
            }
            _ => Err(problems),
        }
    }

    /// The mapping of a source.
    pub fn get(&self, source: &GatewayId) -> Option<&Mapping> {
        self.0.get(source)
    }

    /// The known sources, for messages.
    pub fn names(&self) -> String {
        if self.0.is_empty() {
            return "(none: no mapping file is loaded)".into();
        }
        self.0.keys().map(GatewayId::as_str).collect::<Vec<_>>().join(", ")
    }

    /// How many sources are mapped.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no source is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads `lat`, `lon`, `datum` and `area` of a table, each falling back to `default`'s; `None` when there is no
/// position. A position without its datum is a mistake: the reader would guess, and be off by 500 m.
fn read_place(section: &mut Section<'_>, default: Option<&Place>) -> Option<Place> {
    let lat = section.number("lat", -wire::place::MAX_LATITUDE..=wire::place::MAX_LATITUDE);
    let lon = section.number("lon", -180.0..=180.0);
    let datum = section.choice(
        "datum",
        &[
            ("wgs84", Datum::Wgs84),
            ("cgcs2000", Datum::Cgcs2000),
            ("gcj02", Datum::Gcj02),
            ("bd09", Datum::Bd09),
        ],
    );
    let area = section.optional("area", Area::new);
    match (lat, lon) {
        (None, None) => default.cloned().map(|place| Place { area: area.unwrap_or(place.area), ..place }),
        (Some(_), None) => {
            section.problem("lat", "lat without lon: a position has both");
            None
        }
        (None, Some(_)) => {
            section.problem("lon", "lon without lat: a position has both");
            None
        }
        (Some(lat), Some(lon)) => {
            let Some(datum) = datum.or(default.map(|place| place.datum)) else {
                section.problem("lat", "a position without its datum: add datum = \"wgs84\", \"cgcs2000\", \"gcj02\" or \"bd09\"; taking one for another moves it by 300 to 700 m");
                return None;
            };
            let area = area.or_else(|| default.map(|place| place.area.clone())).unwrap_or_else(Area::unknown);
            Place::new(lat, lon, datum, area).map_err(|error| section.problem("lat", error.to_string())).ok()
        }
    }
}

impl Rule {
    fn read(section: &mut Section<'_>, default: Option<&Place>, catalogue: &Catalogue) -> Option<Self> {
        let pattern = section.required("name", Pattern::new);
        let quantity = section.required("quantity", |name| {
            catalogue.by_name(name).ok_or_else(|| {
                format!(
                    "{name:?} is not a quantity: see configs/quantities for the {} known ones",
                    catalogue.all().len()
                )
            })
        });
        let wild = pattern.as_ref().is_some_and(|pattern| pattern.suffix.is_some());
        let sensor = section.required("sensor", |text| match (wild, text.matches("{}").count()) {
            (true, 1) => {
                SensorName::new(&text.replace("{}", "x")).map(|_| text.to_owned()).map_err(|e| e.to_string())
            }
            (false, 0) => SensorName::new(text).map(|_| text.to_owned()).map_err(|e| e.to_string()),
            (true, _) => {
                Err(format!("{text:?} must contain {{}} once: it becomes what the * of the name stands for"))
            }
            (false, _) => Err(format!("{text:?} contains {{}}, but the name has no *")),
        });
        let assumed = section.optional("unit", |text| Ok::<_, String>(text.to_owned()));
        let always = section.optional("unit_always", |text| Ok::<_, String>(text.to_owned()));
        if let Some(quantity) = quantity {
            for (key, unit) in [("unit", &assumed), ("unit_always", &always)] {
                if let Some(unit) = unit
                    && let Err(error) = to_canonical(0.0, unit, quantity)
                {
                    section.problem(key, error);
                }
            }
        }
        let unit = match (assumed, always) {
            (Some(_), Some(_)) => {
                section.problem("unit_always", "unit and unit_always exclude each other");
                Unit::Told
            }
            (_, Some(unit)) => Unit::Always(unit),
            (Some(unit), _) => Unit::Assumed(unit),
            (None, None) => Unit::Told,
        };
        let place = read_place(section, default);
        if place.is_none() {
            section.problem("name", "no place: add lat, lon and datum here or at the top of the file");
        }
        Some(Self { pattern: pattern?, quantity: quantity?.code, sensor: sensor?, place: place?, unit })
    }

    fn sensor(&self, part: &str) -> Result<SensorName, String> {
        // Device names like 00:24:BE are common; our alphabet is smaller.
        let part: String =
            part.chars().map(|c| if matches!(c, ':' | '/') { '.' } else { c.to_ascii_lowercase() }).collect();
        SensorName::new(&self.sensor.replace("{}", &part)).map_err(|error| error.to_string())
    }
}

/// The value in the canonical unit of its quantity.
fn to_canonical(value: f64, unit: &str, quantity: &Quantity) -> Result<f64, String> {
    normalise::convert(value, unit, &quantity.unit).filter(|value| value.is_finite()).ok_or_else(|| {
        format!(
            "unit {unit:?} does not measure {}: {:?} or a unit that converts to it expected",
            quantity.name, quantity.unit
        )
    })
}

impl Mapping {
    /// Turns a resolved record into a reading. The first rule whose name fits decides.
    ///
    /// # Errors
    /// What does not fit, what was expected and what was found, for the sender to read.
    pub fn reading(&self, record: &Record, catalogue: &Catalogue) -> Result<MappedReading, String> {
        let name = &record.name;
        if let Some(unit @ ("lat" | "lon" | "alt")) = record.unit.as_deref() {
            return Err(format!(
                "{name:?}: a position (unit {unit}) is not taken from a pack: say where the sensor is, and in which datum, in the mapping file"
            ));
        }
        let (rule, part) = self
            .rules
            .iter()
            .find_map(|rule| rule.pattern.matches(name).map(|part| (rule, part)))
            .ok_or_else(|| {
                format!(
                    "{name:?}: no rule maps this name; add a [[map]] for it to the mapping file of the source"
                )
            })?;
        let quantity = catalogue
            .get(rule.quantity)
            .ok_or_else(|| format!("{name:?}: quantity {} is not in the catalogue", rule.quantity.0))?;
        let unit = match (&rule.unit, record.unit.as_deref()) {
            (Unit::Always(unit), _) | (Unit::Assumed(unit), None) => unit,
            (_, Some(unit)) => unit,
            (Unit::Told, None) => {
                return Err(format!(
                    "{name:?}: no unit: {} is measured in {:?}; add u to the record, or unit to the mapping file",
                    quantity.name, quantity.unit
                ));
            }
        };
        let value =
            to_canonical(record.value, unit, quantity).map_err(|error| format!("{name:?}: {error}"))?;
        let sensor = rule.sensor(part).map_err(|error| format!("{name:?}: {error}"))?;
        Ok(MappedReading {
            sensor,
            quantity: rule.quantity,
            place: rule.place.clone(),
            at_ms: record.at_ms,
            value,
            timed: record.absolute,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str) -> Result<Mappings, Problems> {
        let mut mappings = Mappings::default();
        mappings.add("m.toml", text, &Catalogue::builtin())?;
        Ok(mappings)
    }

    #[test]
    fn every_mistake_of_a_file_is_reported() {
        let problems = add("source = 'River Works'\nlat = 30.6\nlon = 104.0\n\
             [[map]]\nname = 'a*b*'\nquantity = 'watr-level'\nsensor = 'x'\n\
             [[map]]\nname = 'b*'\nquantity = 'rainfall'\nsensor = 'rain'\nunit = 'Cel'\nspeed = 3\n")
        .unwrap_err()
        .to_string();
        for expected in [
            "m.toml:1: source: \"River Works\" is not a gateway id",
            "m.toml:2: lat: a position without its datum",
            "map[0].name: \"a*b*\" has more than one *",
            "map[0].quantity: \"watr-level\" is not a quantity",
            "map[1].sensor: \"rain\" must contain {} once",
            "map[1].unit: ",
            "map[1].speed: unknown key",
            "map[1].name: no place",
        ] {
            assert!(problems.contains(expected), "{expected:?} not in:\n{problems}");
        }
    }

    #[test]
    fn a_pattern_has_one_star() {
        let star = Pattern::new("dev:*:temp").unwrap();
        assert_eq!(star.matches("dev:7:temp"), Some("7"));
        assert_eq!(star.matches("dev:7:8:temp"), Some("7:8"));
        for other in ["dev::temp", "dev:7:tem", "ev:7:temp", "dev:temp", "dev:"] {
            assert_eq!(star.matches(other), None, "{other}");
        }
        let exact = Pattern::new("a").unwrap();
        assert_eq!((exact.matches("a"), exact.matches("ab")), (Some(""), None));
    }

    #[test]
    fn names_units_and_places_come_from_the_file() {
        let mappings = add(
            "source='s'\nlat=30.6\nlon=104.0\ndatum='gcj02'\narea='chengdu/wuhou'\n\
             [[map]]\nname='dev/*/t'\nquantity='air-temperature'\nsensor='{}.t'\nunit='Cel'\nlat=30.7\nlon=104.1\n\
             [[map]]\nname='r'\nquantity='rainfall'\nsensor='rain'\nunit_always='mm'\n",
        )
        .unwrap();
        let mapping = mappings.get(&GatewayId::new("s").unwrap()).unwrap();
        let record = |name: &str, unit: Option<&str>| Record {
            name: name.into(),
            unit: unit.map(Into::into),
            value: 1.5,
            at_ms: 5,
            absolute: true,
        };
        let catalogue = Catalogue::builtin();
        let reading = mapping.reading(&record("dev/00:AB/t", None), &catalogue).unwrap();
        assert_eq!(reading.sensor.as_str(), "00.ab.t");
        assert_eq!((reading.place.lat_e7, reading.place.datum), (307_000_000, Datum::Gcj02));
        assert_eq!(reading.place.area.district(), "wuhou");
        assert_eq!(mapping.reading(&record("r", Some("furlong")), &catalogue).unwrap().value, 1.5);
        let refused = mapping.reading(&record("dev/1/t", Some("furlong")), &catalogue).unwrap_err();
        assert!(refused.contains("furlong"), "{refused}");
        assert!(
            mapping.reading(&record("x", None), &catalogue).unwrap_err().contains("no rule maps this name")
        );
        assert!(
            mapping.reading(&record("dev/1/t", Some("lat")), &catalogue).unwrap_err().contains("position")
        );
    }
}
