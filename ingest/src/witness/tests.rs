//! Stories of a log and its witness.

use seal::keys::{MemoryKey, Signer as _};
use seal::note::signed;
use tempfile::TempDir;

use super::*;
use crate::tlog::keyfile::{KeyRole, load, make};
use crate::tlog::{Folder, Tlog};

const LOG: &str = "log.example/seals";
const NOW_S: u64 = 1_790_000_000;

/// A log, a witness, and where they keep what they know.
struct Story {
    folder: TempDir,
    log: Tlog,
    witness: Witness<Folder>,
}

fn log_key() -> MemoryKey {
    MemoryKey::from_secret(&[1; 32])
}

fn log(folder: &TempDir, name: &str) -> Tlog {
    Tlog::open(Folder::open(&folder.path().join(name)).unwrap(), LOG, Box::new(log_key())).unwrap()
}

fn witness(folder: &TempDir, log: MemoryKey) -> Result<Witness<Folder>, MemoryError> {
    let key = load(&folder.path().join("w.key"), KeyRole::Witness).unwrap();
    let logs = vec![NoteKey { name: LOG.into(), key: log.public() }];
    Witness::open(Folder::open(&folder.path().join("witness")).unwrap(), key, logs)
}

/// What a log sends to a witness that has seen `old` leaves of it.
fn submission(log: &Tlog, old: u64) -> String {
    let tiles = log.tiles();
    Submission { old, proof: tiles.consistency(old, tiles.size()).unwrap(), note: &tiles.newest() }.text()
}

impl Story {
    fn begin() -> Self {
        let folder = TempDir::new().unwrap();
        make(&folder.path().join("w.key"), "witness.example", KeyRole::Witness).unwrap();
        let (log, witness) = (log(&folder, "log"), witness(&folder, log_key()).unwrap());
        Self { folder, log, witness }
    }

    fn grow(&mut self, leaves: &[&str]) {
        let leaves: Vec<&[u8]> = leaves.iter().map(|leaf| leaf.as_bytes()).collect();
        self.log.append(&leaves).unwrap();
    }

    fn says(&mut self, body: &str) -> Verdict {
        self.witness.add_checkpoint(body.as_bytes(), NOW_S)
    }

    /// The log shows itself to a witness that has seen `old` leaves.
    fn shows(&mut self, old: u64) -> Verdict {
        let body = submission(&self.log, old);
        self.says(&body)
    }

    fn is_cosigned(&mut self, old: u64) -> bool {
        let Verdict::Cosigned(line) = self.shows(old) else { return false };
        let note = format!("{}{line}", self.log.tiles().newest());
        Note::parse(note.as_bytes()).unwrap().cosigned_s(&self.witness.key.public) == Some(NOW_S)
    }

    fn restart_witness(self) -> Self {
        let Self { folder, log, witness: stopped } = self;
        drop(stopped);
        let witness = witness(&folder, log_key()).unwrap();
        Self { folder, log, witness }
    }
}

#[test]
fn a_log_that_only_grows_is_cosigned() {
    let mut story = Story::begin();
    assert!(story.is_cosigned(0), "of nothing");
    story.grow(&["a", "b", "c"]);
    assert!(story.is_cosigned(0));
    assert!(story.is_cosigned(3), "the same again");
    story.grow(&["d", "e"]);
    assert_eq!(story.shows(0), Verdict::Seen(3));
    assert_eq!(story.shows(2), Verdict::Seen(3));
    assert!(story.is_cosigned(3));
    assert_eq!(story.witness.seen().collect::<Vec<_>>(), [(LOG, 5)]);
}

#[test]
fn it_remembers_before_it_answers() {
    let mut story = Story::begin();
    story.grow(&["a", "b", "c"]);
    assert!(story.is_cosigned(0));
    let mut story = story.restart_witness();
    story.grow(&["d"]);
    assert_eq!(story.shows(0), Verdict::Seen(3));
    assert!(story.is_cosigned(3));
}

#[test]
fn a_forked_log_is_not_cosigned() {
    let mut story = Story::begin();
    story.grow(&["a", "b", "c"]);
    assert!(story.is_cosigned(0));
    let honest = story.log.tiles().newest();
    // The same key, another history.
    story.log = log(&story.folder, "fork");
    story.grow(&["a", "X", "c"]);
    let shown = story.log.tiles().newest();
    let evidence = [honest.to_string(), shown.to_string()];
    assert_eq!(story.shows(3), Verdict::Forked { size: 3, evidence });
    assert_eq!(story.shows(0), Verdict::Seen(3));
    story.grow(&["d"]);
    assert!(matches!(story.shows(3), Verdict::Inconsistent { .. }));
    let mut story = story.restart_witness();
    assert!(matches!(story.shows(3), Verdict::Inconsistent { .. }), "also by its memory");
}

#[test]
fn a_log_that_was_set_back_is_told_so() {
    let mut story = Story::begin();
    story.grow(&["a", "b"]);
    let old = submission(&story.log, 0);
    story.grow(&["c"]);
    assert!(story.is_cosigned(0));
    assert_eq!(story.says(&old), Verdict::Seen(3));
}

#[test]
fn what_is_wrong_is_told_apart() {
    let mut story = Story::begin();
    story.grow(&["a", "b", "c"]);
    assert!(story.is_cosigned(0));
    story.grow(&["d"]);
    let good = submission(&story.log, 3);
    let root = Checkpoint { origin: LOG.into(), size: 4, root: digest(&[b"another"]) };
    let note = signed(&root, &MemoryKey::from_secret(&[2; 32])).unwrap();
    let stranger = Submission { old: 3, proof: Vec::new(), note: &note }.text();
    let larger = good.replacen("old 3", "old 5", 1);
    let no_proof = Submission { old: 3, proof: Vec::new(), note: &story.log.tiles().newest() }.text();
    for (body, why) in [
        ("", "nothing"),
        (good.as_str().trim_end(), "a note that is cut short"),
        (&larger, "an old size beyond the checkpoint"),
        (&good.replace("old 3", "old three"), "no number"),
    ] {
        assert!(matches!(story.says(body), Verdict::Malformed(_)), "{why}");
    }
    assert_eq!(story.says(&stranger), Verdict::NotSigned);
    assert_eq!(story.says(&good.replace("\n4\n", "\n5\n")), Verdict::NotSigned, "altered");
    assert_eq!(story.says(&good.replace(LOG, "other.example")), Verdict::Unknown);
    assert!(matches!(story.says(&no_proof), Verdict::Inconsistent { .. }));
    assert!(story.is_cosigned(3), "none of that was remembered");
}

#[test]
fn it_does_not_start_without_its_memory() {
    let mut story = Story::begin();
    story.grow(&["a"]);
    assert!(story.is_cosigned(0));
    assert!(
        matches!(witness(&story.folder, log_key()), Err(MemoryError::Disk(..))),
        "another one runs there"
    );
    let Story { folder, witness: stopped, .. } = story;
    let file = folder.path().join("witness").join(stopped.watched[0].file());
    drop(stopped);
    let other = witness(&folder, MemoryKey::from_secret(&[2; 32]));
    assert!(matches!(other, Err(MemoryError::Unreadable { .. })), "another key for the same log");
    std::fs::write(file, "").unwrap();
    assert!(matches!(witness(&folder, log_key()), Err(MemoryError::Unreadable { .. })));
}
