//! A TOML reader that reports every mistake of a file at once.
//!
//! A person in the rain fixes a file once, not once per mistake. Each problem names the file, the line, the key,
//! what was expected and what was found. Keys that nobody asked for are problems too: a typing error in an
//! optional setting must not be silent.
//!
//! ```
//! let text = "[box]\nid = 'Gw 1'\nevery = '1'\nspeeed = 3\n";
//! let document = configs::Document::parse("box.toml", text);
//! let mut root = document.root();
//! let mut section = root.section("box");
//! let _id = section.required("id", |t| wire::GatewayId::new(t).map_err(|e| e.to_string()));
//! let _every = section.duration_ms("every", 100..=60_000);
//! drop((section, root));
//! let problems = document.finish();
//! assert_eq!(problems.0.len(), 3);
//! assert!(problems.to_string().contains("box.toml:2: box.id"));
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File as the user named it.
    pub file: String,
    /// Line, from 1; 0 when the mistake is something missing at the top level.
    pub line: usize,
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong, what was expected, and the value.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// All mistakes of a file, in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A parsed file that collects problems while it is read.
pub struct Document<'t> {
    file: String,
    text: &'t str,
    table: Spanned<DeTable<'t>>,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Document<'t> {
    /// Parses `text`; a syntax error becomes the document's problem and leaves it empty.
    pub fn parse(file: &str, text: &'t str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let document = Self { file: file.into(), text, table, problems: RefCell::default() };
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            document.report(at, String::new(), format!("not valid TOML: {}", error.message()));
        }
        document
    }

    /// The top of the file.
    pub fn root(&self) -> Section<'_> {
        Section::of(self, String::new(), Some(self.table.get_ref()), 0)
    }

    /// All problems found so far, by line. Drop every [`Section`] first: they report unknown keys when they go.
    pub fn finish(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        Problems(problems)
    }

    fn report(&self, at: usize, key: String, message: String) {
        let line = self.text.get(..at).map_or(0, |before| before.matches('\n').count() + 1);
        self.problems.borrow_mut().push(Problem { file: self.file.clone(), line, key, message });
    }
}

/// A table of the file. Reports keys that were never asked for when it is dropped.
pub struct Section<'d> {
    document: &'d Document<'d>,
    path: String,
    table: Option<&'d DeTable<'d>>,
    at: usize,
    asked: BTreeSet<String>,
}

impl<'d> Section<'d> {
    fn of(document: &'d Document<'_>, path: String, table: Option<&'d DeTable<'_>>, at: usize) -> Self {
        Self { document, path, table, at, asked: BTreeSet::new() }
    }

    /// Whether the table is in the file at all.
    pub fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// All keys of this table, for tables whose keys are names.
    pub fn keys(&self) -> Vec<String> {
        self.table.map(|t| t.iter().map(|(key, _)| key.get_ref().to_string()).collect()).unwrap_or_default()
    }

    /// The table under `key`; an absent one reads as empty, so that its required keys are reported.
    pub fn section(&mut self, key: &str) -> Section<'d> {
        let (table, at) = match self.take(key) {
            None => (None, self.at),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (Some(table), value.span().start),
                other => {
                    self.wrong(value, key, "a table", other);
                    (None, value.span().start)
                }
            },
        };
        Section::of(self.document, self.join(key), table, at)
    }

    /// The array of tables under `key`, `[[key]]` in the file.
    pub fn sections(&mut self, key: &str) -> Vec<Section<'d>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(value, key, "a list of tables, [[...]]", value.get_ref());
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.join(key));
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section::of(self.document, path, Some(table), item.span().start));
                }
                other => self.wrong(item, key, "a table", other),
            }
        }
        sections
    }

    /// A text read by `parse`; `None` when it is absent or wrong.
    pub fn optional<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => match parse(text) {
                Ok(parsed) => Some(parsed),
                Err(error) => {
                    self.document.report(value.span().start, self.join(key), error.to_string());
                    None
                }
            },
            other => {
                self.wrong(value, key, "a text in quotes", other);
                None
            }
        }
    }

    /// Like [`Section::optional`], but absence is a problem.
    pub fn required<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.need(key, "a text in quotes");
        self.optional(key, parse)
    }

    /// A list of texts; empty when absent.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(value, key, "a list of texts", value.get_ref());
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(text.to_string()),
                other => self.wrong(item, key, "a text in quotes", other),
            }
        }
        texts
    }

    /// One of several words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.optional(key, |text| {
            choices
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
                .ok_or_else(|| format!("{text:?} is not one of: {}", words.join(", ")))
        })
    }

    /// A number, whole or not, within `range`.
    pub fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.take(key)?;
        let found = match value.get_ref() {
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|i| i as f64)
            }
            DeValue::Float(float) => float.as_str().replace('_', "").parse::<f64>().ok(),
            _ => None,
        };
        match found {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                let message =
                    format!("{number} is out of range: {} to {} expected", range.start(), range.end());
                self.document.report(value.span().start, self.join(key), message);
                None
            }
            None => {
                self.wrong(value, key, "a number", value.get_ref());
                None
            }
        }
    }

    /// Like [`Section::number`], but absence is a problem.
    pub fn required_number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.need(key, &format!("a number from {} to {}", range.start(), range.end()));
        self.number(key, range)
    }

    /// A whole number within `range`; hexadecimal `0x44` is understood.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.take(key)?;
        let found = match value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        match found {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                let message =
                    format!("{number} is out of range: {} to {} expected", range.start(), range.end());
                self.document.report(value.span().start, self.join(key), message);
                None
            }
            None => {
                self.wrong(value, key, "a whole number", value.get_ref());
                None
            }
        }
    }

    /// Like [`Section::integer`], but absence is a problem.
    pub fn required_integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.need(key, &format!("a whole number from {} to {}", range.start(), range.end()));
        self.integer(key, range)
    }

    /// A yes or no.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                self.wrong(value, key, "true or false", other);
                None
            }
        }
    }

    /// A duration with its unit, `500ms`, `10s`, `5min`, `2h`, `3d`, in milliseconds within `range_ms`.
    pub fn duration_ms(&mut self, key: &str, range_ms: RangeInclusive<u64>) -> Option<u64> {
        self.optional(key, |text| {
            let ms = parse_duration_ms(text).ok_or_else(|| {
                format!(
                    "{text:?} is not a duration: a number with its unit expected, 500ms, 10s, 5min, 2h or 3d"
                )
            })?;
            if range_ms.contains(&ms) {
                Ok(ms)
            } else {
                Err(format!(
                    "{text:?} is out of range: {} ms to {} ms expected",
                    range_ms.start(),
                    range_ms.end()
                ))
            }
        })
    }

    /// A size with its unit, `512 KiB`, `64 MiB`, `2 GiB`, in bytes within `range`.
    pub fn size_bytes(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.optional(key, |text| {
            let bytes = parse_size_bytes(text).ok_or_else(|| {
                format!("{text:?} is not a size: a number with its unit expected, 512 KiB, 64 MiB or 2 GiB")
            })?;
            if range.contains(&bytes) {
                Ok(bytes)
            } else {
                Err(format!("{text:?} is out of range: {} to {} bytes expected", range.start(), range.end()))
            }
        })
    }

    /// Reports a mistake that only the caller can see, at the line of `key` or of this table.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        let at = self.table.and_then(|table| table.get(key)).map_or(self.at, |value| value.span().start);
        self.document.report(at, self.join(key), message.into());
    }

    fn need(&self, key: &str, expected: &str) {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.document.report(self.at, self.join(key), format!("missing: {expected} expected"));
        }
    }

    fn take(&mut self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key.into());
        self.table.and_then(|table| table.get(key))
    }

    fn wrong(&self, value: &Spanned<DeValue<'_>>, key: &str, expected: &str, found: &DeValue<'_>) {
        let text = self.document.text.get(value.span()).unwrap_or_default();
        let shown: String = text.chars().take(40).collect();
        let message = format!("{expected} expected, found {} ({shown})", found.type_str());
        self.document.report(value.span().start, self.join(key), message);
    }

    fn join(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", _) => key.into(),
            (_, "") => self.path.clone(),
            _ => format!("{}.{key}", self.path),
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(name) {
                continue;
            }
            let close = self.asked.iter().find(|known| distance(known, name) <= 2);
            let message = match close {
                Some(known) => format!("unknown key: did you mean {known:?}?"),
                None => {
                    let known: Vec<&str> = self.asked.iter().map(String::as_str).collect();
                    format!("unknown key: known here are {}", known.join(", "))
                }
            };
            self.document.report(key.span().start, self.join(name), message);
        }
    }
}

/// Edits between two keys, to suggest the one that was meant.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<f64>().ok()?;
    Some((number, unit.trim()))
}

/// `10s` → 10,000. A bare number is refused: nobody can tell what it counts.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "min" => 60e3,
        "h" => 3600e3,
        "d" => 86_400e3,
        _ => return None,
    };
    let ms = number * factor;
    (ms <= 1e15).then_some(ms as u64)
}

/// `64 MiB` → 67,108,864.
pub fn parse_size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    let bytes = number * factor;
    (bytes <= 1e15).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, with: impl Fn(&mut Section<'_>)) -> Vec<String> {
        let document = Document::parse("f.toml", text);
        let mut root = document.root();
        with(&mut root);
        drop(root);
        document.finish().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_reported_at_its_line() {
        let problems = read("every = '1'\nsize = '3 MB'\nid = 7\nextra = 1\n", |root| {
            assert_eq!(root.duration_ms("every", 0..=10), None);
            assert_eq!(root.size_bytes("size", 0..=10), None);
            assert!(root.required("id", |t| Ok::<_, String>(t.to_owned())).is_none());
            assert!(root.required_number("lat", -85.0..=85.0).is_none());
        });
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems[0].starts_with("f.toml:1: every: \"1\" is not a duration"), "{problems:?}");
        assert!(problems[4].contains("extra: unknown key"), "{problems:?}");
    }

    #[test]
    fn a_typing_error_gets_a_suggestion() {
        let problems = read("evry = '1s'\n", |root| {
            root.duration_ms("every", 0..=10_000);
        });
        assert_eq!(problems, ["f.toml:1: evry: unknown key: did you mean \"every\"?"]);
    }

    #[test]
    fn broken_toml_is_a_problem_not_a_panic() {
        let problems = read("a = \nb = 3\n", |root| {
            root.integer("b", 0..=5);
            root.integer("a", 0..=5);
        });
        assert!(problems[0].contains("not valid TOML"), "{problems:?}");
    }

    #[test]
    fn units_are_read() {
        assert_eq!(parse_duration_ms("1.5s"), Some(1500));
        assert_eq!(parse_duration_ms("2h"), Some(7_200_000));
        assert_eq!(parse_duration_ms("10"), None);
        assert_eq!(parse_size_bytes("64 MiB"), Some(64 << 20));
        assert_eq!(parse_size_bytes("1 GB"), None);
    }
}
