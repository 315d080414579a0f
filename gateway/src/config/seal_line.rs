//! `[[seal_line]]`: a smart seal that is a device of its own, at the end of a serial line.

use std::path::{Path, PathBuf};

use ::line::noise::Public;
use boards::serial::BAUDS;
use configs::Section;

use crate::seal::key::read_line_key;

/// Most seals on one gateway: a town hall has some, and each has a thread.
pub const MAX_LINES: usize = 8;
/// What a line is set to unless it is said.
const USUAL_BAUD: u32 = 115_200;

/// The line to a seal, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealLine {
    /// The seal, as the authority calls it.
    pub seal: String,
    /// The port.
    pub port: PathBuf,
    /// Its speed.
    pub baud: u32,
    /// The public key of the seal's end.
    pub key: Public,
}

/// Reads all lines; mistakes go to the document. `own`: the seal that hangs on the gateway itself.
pub(super) fn read(root: &mut Section<'_>, own: Option<&str>, folder: &Path) -> Vec<SealLine> {
    let mut sections = root.sections("seal_line");
    if sections.len() > MAX_LINES {
        root.problem("seal_line", format!("{} lines, at most {MAX_LINES} are allowed", sections.len()));
    }
    let mut lines: Vec<SealLine> = Vec::new();
    for section in &mut sections {
        let Some(line) = one(section, folder) else { continue };
        if own == Some(&line.seal) || lines.iter().any(|other| other.seal == line.seal) {
            section.problem("seal", format!("{:?} is on this gateway already: each seal once", line.seal));
        }
        if lines.iter().any(|other| other.port == line.port) {
            let port = line.port.display();
            section.problem("port", format!("{port} is another seal's: each needs a line of its own"));
        }
        if lines.iter().any(|other| other.key == line.key) {
            section.problem("key", "it is another seal's: each has its own");
        }
        lines.push(line);
    }
    lines
}

fn one(section: &mut Section<'_>, folder: &Path) -> Option<SealLine> {
    let seal = section.required("seal", |text| {
        let is_name = (1..=::seal::grant::MAX_TEXT).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
        let expected = "1 to 64 lower-case letters, digits, - and . expected, as the authority calls it";
        if is_name { Ok(text.to_owned()) } else { Err(format!("{text:?} names no seal: {expected}")) }
    });
    let port = section.required("port", |text| {
        let expected = "an empty path is no port: \"/dev/serial/by-id/…\" expected";
        if text.is_empty() { Err(expected) } else { Ok(folder.join(text)) }
    });
    let baud = section.integer("baud", 1..=i64::from(u32::MAX)).and_then(|baud| u32::try_from(baud).ok());
    if let Some(baud) = baud.filter(|baud| !BAUDS.contains(baud)) {
        section.problem("baud", format!("{baud} is no usual speed: one of {BAUDS:?} expected"));
    }
    let key = section.required("key", read_line_key);
    Some(SealLine { seal: seal?, port: port?, baud: baud.unwrap_or(USUAL_BAUD), key: key? })
}
