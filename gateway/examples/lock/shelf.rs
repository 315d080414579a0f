//! What a lock remembers, and the mail that it has not been rid of: one file, only added to, each write on stable storage
//! before it returns.
//!
//! ```text
//! length of the body (4 bytes), the first 8 bytes of its SHA-256, body: [[name, bytes or null], …] in CBOR
//! ```
//! A write is one such record: all of it counts, or nothing. Mail is a note `mail/{number}` until it is delivered, so a
//! receipt and the memory of it are one write. When much of the file is past it is written anew beside it, and takes its
//! place in one step.
//!
//! # What it cannot do
//! What is damaged in the middle ends there: what comes after it is forgotten, the counter shows more than is remembered, and
//! nothing moves before the authority has answered. A disk that says that it has written and has not takes uses away, and
//! that too shows in the counter.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway::buffer::{NotKept, Note, Notes};
use gateway::seal::journal::{Journal, State, is_ours, state};
use line::message::Up;
use minicbor::bytes::ByteVec;
use seal::keys::digest;
use wire::Payload;

const MAIL: &str = "mail/";
/// Bytes of a record before its body.
const HEAD: usize = 4 + 8;
/// A file that has grown so much beyond what lies in it is written anew, in bytes.
const SLACK: u64 = 8 << 20;
/// Most bytes of mail: a month without a gateway, or some hundred photographs. Then nothing more is stamped.
const MOST_MAIL: usize = 32 << 20;

type Record = Vec<(String, Option<ByteVec>)>;

/// The file; clones share it.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    /// `None` after a failure: what lies there has to be read again.
    file: Option<File>,
    bytes: u64,
    notes: BTreeMap<String, Vec<u8>>,
}

impl Shelf {
    /// Opens what is there, or begins.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        fs::create_dir_all(data)?;
        let path = data.join("lock.journal");
        let mut inner = Inner { path, file: None, bytes: 0, notes: BTreeMap::new() };
        inner.read()?;
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it remembers anything.
    pub(crate) fn has_memory(&self) -> bool {
        self.inner().notes.keys().any(|name| is_ours(name))
    }

    /// The oldest mail, and its number.
    pub(crate) fn next(&self) -> Option<(u64, Up)> {
        let inner = self.inner();
        let (name, bytes) = inner.mail().next()?;
        Some((name.strip_prefix(MAIL)?.parse().ok()?, Up::read(bytes)?))
    }

    /// This mail is delivered.
    pub(crate) fn forget(&self, number: u64) {
        let mut inner = self.inner();
        if let Err(error) = inner.write(vec![(name(number), None)]) {
            // It goes once more, which changes nothing.
            tracing::warn!(%error, "mail that was delivered cannot be forgotten");
        }
    }
}

impl Journal for Shelf {
    fn read(&mut self) -> Result<State, NotKept> {
        let mut inner = self.inner();
        inner.read().map_err(|error| NotKept::Disk(error.to_string()))?;
        let ours = inner.notes.iter().filter(|(name, _)| is_ours(name));
        Ok(state(Notes { store: 0, notes: ours.map(|(name, note)| (name.clone(), note.clone())).collect() }))
    }

    fn write(&mut self, mut notes: Vec<Note>, payloads: Vec<Payload>) -> Result<(), NotKept> {
        let mut inner = self.inner();
        let last =
            inner.mail().next_back().and_then(|(name, _)| name.strip_prefix(MAIL)?.parse::<u64>().ok());
        let messages = payloads.into_iter().flat_map(|payload| match payload {
            Payload::Envelopes(envelopes) => envelopes.envelopes.into_iter().map(Up::Envelope).collect(),
            Payload::Picture(part) => vec![Up::Picture(part)],
            _ => Vec::new(),
        });
        notes.extend((last.unwrap_or(0) + 1..).zip(messages).map(|(at, up)| (name(at), Some(up.to_bytes()))));
        let waiting: usize = inner.mail().map(|(_, bytes)| bytes.len()).sum();
        if waiting > MOST_MAIL && notes.iter().any(|(name, _)| name.starts_with(MAIL)) {
            return Err(NotKept::Unfit(format!("{waiting} bytes of mail wait, at most {MOST_MAIL} may")));
        }
        inner.write(notes).map_err(|error| NotKept::Disk(error.to_string()))
    }
}

impl Inner {
    fn mail(&self) -> impl DoubleEndedIterator<Item = (&String, &Vec<u8>)> {
        self.notes
            .range(MAIL.to_owned()..)
            .take_while(|(name, _)| name.starts_with(MAIL))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn add(&mut self, notes: Vec<Note>) {
        for (name, note) in notes {
            match note {
                Some(note) => drop(self.notes.insert(name, note)),
                None => drop(self.notes.remove(&name)),
            }
        }
    }

    fn write(&mut self, notes: Vec<Note>) -> io::Result<()> {
        let record = record(&notes);
        let Some(file) = &mut self.file else { return Err(io::Error::other("it has to be read again")) };
        if let Err(error) = file.write_all(&record).and_then(|()| file.sync_data()) {
            self.file = None;
            return Err(error);
        }
        self.bytes += record.len() as u64;
        self.add(notes);
        let live: usize = self.notes.iter().map(|(name, note)| name.len() + note.len()).sum();
        // What fails here leaves the file as it is, and all is in it.
        if self.bytes > 2 * live as u64 + SLACK
            && let Err(error) = self.write_anew()
        {
            tracing::warn!(%error, "the journal cannot be written anew: it grows on");
        }
        Ok(())
    }

    /// Reads the file up to the first record that is none, and goes on from there.
    fn read(&mut self) -> io::Result<()> {
        self.file = None;
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).truncate(false).open(&self.path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.notes.clear();
        let mut rest = bytes.as_slice();
        while let Some((notes, after)) = first(rest) {
            self.add(notes);
            rest = after;
        }
        let good = (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            tracing::warn!(bytes = rest.len(), "the end of the journal is no record: a write was cut short");
            file.set_len(good)?;
        }
        file.sync_all()?;
        sync_folder(&self.path)?;
        (self.file, self.bytes) = (Some(file), good);
        Ok(())
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let notes = self.notes.iter().map(|(name, note)| (name.clone(), Some(note.clone())));
        let mut file = File::create(&beside)?;
        // Each note in a record of its own would be as good: nothing reads it before all of it is there.
        let record = record(&notes.collect::<Vec<_>>());
        file.write_all(&record)?;
        file.sync_all()?;
        // From here on the old file must not be added to.
        self.file = None;
        fs::rename(&beside, &self.path)?;
        sync_folder(&self.path)?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.bytes = record.len() as u64;
        Ok(())
    }
}

fn name(number: u64) -> String {
    format!("{MAIL}{number:020}")
}

fn record(notes: &[Note]) -> Vec<u8> {
    let notes: Record =
        notes.iter().map(|(name, note)| (name.clone(), note.clone().map(ByteVec::from))).collect();
    // Writing into memory has no way to fail.
    let body = minicbor::to_vec(&notes).unwrap_or_default();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&length[..], &digest(&[&body])[..8], &body].concat()
}

/// The first record, and what comes after it.
fn first(bytes: &[u8]) -> Option<(Vec<Note>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (length, sum) = head.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if digest(&[body])[..8] != *sum {
        return None;
    }
    let notes: Record = minicbor::decode(body).ok()?;
    Some((notes.into_iter().map(|(name, note)| (name, note.map(Into::into))).collect(), rest))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use seal::memory::Memory;
    use wire::Envelopes;

    use super::*;

    fn written(shelf: &mut Shelf, counter: u64) {
        let memory = Memory { counter, ..Memory::default() };
        let notes = gateway::seal::journal::memory_notes(&memory);
        let mail = Payload::Envelopes(Envelopes { envelopes: vec![vec![counter as u8; 9]] });
        shelf.write(notes, vec![mail]).unwrap();
    }

    fn counter(shelf: &mut Shelf) -> u64 {
        shelf.read().unwrap().memory.counter
    }

    #[test]
    fn memory_and_mail_come_back_together_wherever_the_file_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path()).unwrap();
        assert!(!shelf.has_memory());
        for n in 1..=3 {
            written(&mut shelf, n);
        }
        let path = folder.path().join("lock.journal");
        let whole = fs::read(&path).unwrap();
        let mut most = 0;
        for end in (0..whole.len()).step_by(7).chain([whole.len()]) {
            fs::write(&path, &whole[..end]).unwrap();
            let mut shelf = Shelf::open(folder.path()).unwrap();
            let n = counter(&mut shelf);
            assert!(n >= most, "{end}");
            most = n;
            assert_eq!(shelf.inner().mail().count() as u64, n, "a receipt and the memory of it, at {end}");
            // And it goes on from there.
            written(&mut shelf, 9);
            assert_eq!(counter(&mut Shelf::open(folder.path()).unwrap()), 9);
        }
        assert_eq!(most, 3);
        // What is damaged ends it, and all before it counts.
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_eq!(counter(&mut Shelf::open(folder.path()).unwrap()), 1);
    }

    #[test]
    fn mail_goes_in_its_order_once_and_a_large_file_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path()).unwrap();
        written(&mut shelf, 1);
        written(&mut shelf, 2);
        let (first, message) = shelf.next().unwrap();
        assert_eq!(message, Up::Envelope(vec![1; 9]));
        shelf.forget(first);
        assert_eq!(shelf.next().unwrap().1, Up::Envelope(vec![2; 9]));

        let path = folder.path().join("lock.journal");
        let large = || vec![("large".to_owned(), Some(vec![7; 1 << 20]))];
        let mut shrank = false;
        for _ in 0..12 {
            let before = fs::metadata(&path).unwrap().len();
            shelf.write(large(), Vec::new()).unwrap();
            shrank |= fs::metadata(&path).unwrap().len() < before;
        }
        assert!(shrank);
        written(&mut shelf, 5);
        let mut again = Shelf::open(folder.path()).unwrap();
        assert_eq!((counter(&mut again), again.inner().mail().count()), (5, 2));
        assert_eq!(again.next().unwrap().1, Up::Envelope(vec![2; 9]));
    }
}
