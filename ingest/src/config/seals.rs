//! `[seals]`: the office, its keys, its witnesses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use configs::Section;
use seal::keys::PublicKey;
use seal::note::NoteKey;

use crate::people::read_key;
use crate::tlog::keyfile::{self, KeyRole};
use crate::tlog::{WitnessAt, WitnessUrl};

/// Most keys of roots: as many as an envelope has signatures.
const MAX_ROOTS: usize = seal::envelope::MAX_SIGNATURES;

/// How long a photograph may take when nothing is said: a box that lost its network after the receipt is back within a day.
const PHOTO_PATIENCE: Duration = Duration::from_secs(86_400);

/// The office of seals, checked: keys are there and can be read by nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seals {
    /// File of the log's key.
    pub log_key: PathBuf,
    /// File of the issuer's key.
    pub issuer_key: PathBuf,
    /// Who watches the log.
    pub witnesses: Vec<WitnessAt>,
    /// How many of them have to have seen a grant.
    pub witnesses_needed: usize,
    /// Who decides about rules.
    pub roots: Vec<PublicKey>,
    /// How many of them have to.
    pub roots_needed: usize,
    /// How long a photograph may take that a receipt names.
    pub photo_patience: Duration,
}

fn key_file(section: &mut Section<'_>, key: &str, role: KeyRole, folder: &Path) -> Option<PathBuf> {
    section.required(key, |text| {
        let path = folder.join(text);
        keyfile::load(&path, role).map(|_| path)
    })
}

/// How many of so many there have to be.
fn needed(section: &mut Section<'_>, key: &str, of: usize) -> Option<usize> {
    let needed = section.integer(key, 1..=64)? as usize;
    if needed > of {
        section.problem(key, format!("{needed} are needed, and {of} are listed"));
    }
    Some(needed)
}

/// Reads the section; `None` when it is not there, or has mistakes, which are reported.
pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Option<Seals> {
    if !section.exists() {
        return None;
    }
    let log_key = key_file(&mut section, "log_key", KeyRole::Log, folder);
    let issuer_key = key_file(&mut section, "issuer_key", KeyRole::Signer, folder);
    let mut roots = Vec::new();
    for text in section.texts("roots") {
        match read_key(&text) {
            Ok(key) if roots.contains(&key) => section.problem("roots", format!("{text:?} is listed twice")),
            Ok(key) => roots.push(key),
            Err(why) => section.problem("roots", format!("{text:?} {why}")),
        }
    }
    if roots.is_empty() || roots.len() > MAX_ROOTS {
        section.problem("roots", format!("{} are listed: 1 to {MAX_ROOTS} keys expected", roots.len()));
    }
    let roots_needed = needed(&mut section, "roots_needed", roots.len()).unwrap_or(1);
    let mut witnesses = Vec::new();
    for mut one in section.sections("witness") {
        let url = one.required("url", WitnessUrl::parse);
        let key = one.required("key", |text| {
            NoteKey::parse_witness_verifier(text).ok_or_else(|| {
                format!("{text:?} is no witness's key: the line that `ingest witness --new-key` has printed expected")
            })
        });
        witnesses.extend(url.zip(key).map(|(url, key)| WitnessAt { url, key }));
    }
    if witnesses.is_empty() {
        section.problem("witness", "none is listed: a seal takes no grant that no witness has seen");
    }
    let witnesses_needed = needed(&mut section, "witnesses_needed", witnesses.len()).unwrap_or(1);
    // A minute is what a photograph takes on a slow line; after a month nobody remembers.
    let photo_patience = section.duration_ms("photo_patience", 60_000..=31 * 86_400_000);
    Some(Seals {
        log_key: log_key?,
        issuer_key: issuer_key?,
        witnesses,
        witnesses_needed,
        roots,
        roots_needed,
        photo_patience: photo_patience.map_or(PHOTO_PATIENCE, Duration::from_millis),
    })
}
