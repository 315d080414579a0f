//! The transparency log of seals: grants, receipts and whatever else must not be rewritten, one leaf each.
//!
//! # What it must do
//! - What [`Tlog::append`] has returned is there after a power cut, under the checkpoint that was signed over it.
//! - Of one size there is one checkpoint: it is durable before anybody sees it, and nothing takes it back. A log that forgot
//!   something shown would sign another history; it refuses to open instead.
//! - Anybody can check all of it with tools not written here: it is a C2SP tlog-tiles v0.1.0 log.
//!
//! # Files
//! ```text
//! tile/<L>/<N>        256 hashes of whole subtrees of 256^L leaves; never changed
//! tile/entries/<N>    256 leaves; never changed
//! journal             what is in no full tile yet: leaves and the checkpoints after them
//! cosigned            the newest checkpoint that witnesses cosigned
//! ```
//!
//! A commit is one record in the journal and one sync, however many leaves it has. The journal's leaves and their hashes
//! stay in memory too; parts of tiles, which the specification wants served, are made from there: a part of a tile is its
//! beginning. When the journal is full, its full tiles are written, each aside, synced and renamed, then their folders
//! synced; and only then a new journal, with what is left, takes the old one's place. A cut in between finds the old journal,
//! which makes the same tiles again.
//!
//! # Layout
//! - here: appending; [`open`]: what survived; [`tiles`]: reading and proving; [`prove`]: how, on any hashes; [`tile`]: names
//! - [`journal`]: what a commit is on disk; [`tail`]: the same in memory; [`storage`]: the disk
//! - [`cosign`]: what witnesses are asked and what they answer; [`rounds`]: asking all of them, whenever the log has grown
//! - [`export`]: all of it as files that any web server can serve; [`keyfile`]: keys of logs and witnesses

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use seal::keys::Signer;
use seal::note::{Checkpoint, NoteKey, signed};
use seal::tree;
use tokio::sync::watch;

mod cosign;
mod export;
mod journal;
pub mod keyfile;
mod open;
mod prove;
mod rounds;
mod storage;
mod tail;
mod tile;
mod tiles;

#[cfg(test)]
mod crash_tests;

pub use cosign::{WitnessAt, WitnessUrl};
pub(crate) use export::tiles_of;
pub use rounds::{Cosigned, Rounds};
pub(crate) use storage::put;
pub use storage::{Folder, Storage};
pub use tile::{Kind, Tile, WIDTH};
pub use tiles::Tiles;

use journal::{JOURNAL_BYTES, Record, put_leaf};
use prove::Frontier;
use storage::folder_of;
use tiles::Seen;

/// Largest leaf in bytes: a signed envelope of a seal is smaller.
pub const MAX_LEAF: usize = 4096;
/// Most leaves of one commit: with the largest leaves as much as a journal holds.
pub const MAX_GROUP: usize = 1024;
/// Name of the journal.
const JOURNAL: &str = "journal";
/// Name of the newest cosigned checkpoint.
const COSIGNED: &str = "cosigned";

/// Why the log does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TlogError {
    /// A leaf that is too large.
    #[error("a leaf of {0} bytes cannot be logged: at most {MAX_LEAF}")]
    Leaf(usize),
    /// Too many leaves at once.
    #[error("{0} leaves cannot be logged at once: at most {MAX_GROUP}; log them in several groups")]
    Group(usize),
    /// Something beyond the end, or beyond the size that was named.
    #[error("there is no {asked} in a log of {size} leaves")]
    NotThere {
        /// What was asked for: a leaf's number, or a size.
        asked: u64,
        /// How many leaves there are.
        size: u64,
    },
    /// The signer does not sign.
    #[error("the log's key did not sign: nothing was logged; see whether its device answers")]
    Signer,
    /// The disk.
    #[error("the log's disk: {0}")]
    Disk(#[source] io::Error),
    /// The disk failed in mid-commit.
    #[error("the log failed earlier ({0}): what is on disk is unknown; fix the disk and restart")]
    Poisoned(String),
    /// Files that were durable and are not what they were.
    #[error(
        "日志文件已损坏，拒绝启用，以免签出另一份历史 the log is damaged: {0}. It is not opened again, as it would sign another \
         history: bring its folder back from a copy that holds every checkpoint ever shown"
    )]
    Damaged(String),
    /// The log is another one.
    #[error(
        "the log is {found:?} and not signed by the key of {expected:?}: use the folder and the key that belong together"
    )]
    Other {
        /// The origin that was expected.
        expected: String,
        /// The origin that was found.
        found: String,
    },
}

/// The log, open for appending. Owned by one thread; [`Tlog::tiles`] is for all others.
pub struct Tlog<S: Storage = Folder> {
    tiles: Tiles<S>,
    origin: String,
    signer: Box<dyn Signer + Send>,
    frontier: Frontier,
    /// Where the next record goes in the journal.
    end: usize,
    poisoned: Option<String>,
    sizes: watch::Sender<u64>,
    /// When a new journal is begun.
    journal_bytes: usize,
    _lock: S::Lock,
}

impl<S: Storage> std::fmt::Debug for Tlog<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tlog")
            .field("origin", &self.origin)
            .field("size", &self.tiles.size())
            .finish_non_exhaustive()
    }
}

/// The signed checkpoint over what a frontier has.
fn sign(origin: &str, size: u64, frontier: &Frontier, signer: &dyn Signer) -> Result<String, TlogError> {
    let checkpoint = Checkpoint { origin: origin.into(), size, root: frontier.root() };
    signed(&checkpoint, signer).ok_or(TlogError::Signer)
}

impl<S: Storage> Tlog<S> {
    /// Opens the log, or begins it with a checkpoint over nothing. What a cut left unfinished is finished or forgotten: nobody
    /// was told of that.
    ///
    /// # Errors
    /// [`TlogError`]: the disk, a log that is damaged or open already, or one that is not of this origin and key.
    pub fn open(storage: S, origin: &str, signer: Box<dyn Signer + Send>) -> Result<Self, TlogError> {
        Self::open_with(storage, origin, signer, JOURNAL_BYTES)
    }

    fn open_with(
        storage: S,
        origin: &str,
        signer: Box<dyn Signer + Send>,
        journal_bytes: usize,
    ) -> Result<Self, TlogError> {
        let lock = storage.lock()?;
        let key = NoteKey { name: origin.into(), key: signer.public() };
        let found = open::find(storage, &key)?;
        let (sizes, _) = watch::channel(found.tiles.size());
        let mut log = Self {
            tiles: found.tiles,
            origin: origin.into(),
            signer,
            frontier: found.frontier,
            end: found.end,
            poisoned: None,
            sizes,
            journal_bytes,
            _lock: lock,
        };
        if found.end == 0 {
            log.begin()?;
        } else if found.is_torn {
            log.settle()?;
        }
        Ok(log)
    }

    /// The first journal of a new log.
    fn begin(&mut self) -> Result<(), TlogError> {
        let note = sign(&self.origin, 0, &self.frontier, &*self.signer)?;
        let first = Record { from: 0, leaves: &[], note: &note };
        self.end = begin(self.tiles.storage(), first, self.journal_bytes)?;
        self.tiles.change().note = note.into();
        Ok(())
    }

    /// For reading and proving, from any thread.
    pub fn tiles(&self) -> Tiles<S> {
        self.tiles.clone()
    }

    /// Tells how many leaves are committed, whenever there are more.
    pub fn sizes(&self) -> watch::Receiver<u64> {
        self.sizes.subscribe()
    }

    /// Appends a group and returns the number of its first leaf when all of it is on stable storage, with a checkpoint over it.
    /// Blocks for one sync; now and then, when the journal is full, for some hundred.
    ///
    /// # Errors
    /// [`TlogError`]: nothing was appended, unless it says that the log failed: then that is known when it is opened again.
    pub fn append(&mut self, leaves: &[&[u8]]) -> Result<u64, TlogError> {
        if let Some(why) = &self.poisoned {
            return Err(TlogError::Poisoned(why.clone()));
        }
        if leaves.len() > MAX_GROUP {
            return Err(TlogError::Group(leaves.len()));
        }
        if let Some(leaf) = leaves.iter().find(|leaf| leaf.len() > MAX_LEAF) {
            return Err(TlogError::Leaf(leaf.len()));
        }
        let from = self.tiles.size();
        if leaves.is_empty() {
            return Ok(from);
        }
        if self.end >= self.journal_bytes {
            self.settle()?;
        }
        let mut frontier = self.frontier.clone();
        let (mut bundle, mut hashes) = (Vec::new(), Vec::with_capacity(leaves.len()));
        for leaf in leaves {
            put_leaf(&mut bundle, leaf);
            let hash = tree::leaf(leaf);
            hashes.push(hash);
            frontier.push(hash);
        }
        let size = from + leaves.len() as u64;
        let note = sign(&self.origin, size, &frontier, &*self.signer)?;
        let record = Record { from, leaves: &bundle, note: &note }.bytes();
        let storage = self.tiles.storage();
        let written = storage.write(JOURNAL, self.end as u64, &record).and_then(|()| storage.sync(JOURNAL));
        written.inspect_err(|error| self.poisoned = Some(error.to_string()))?;
        self.end += record.len();
        self.frontier = frontier;
        let mut seen = self.tiles.change();
        leaves.iter().zip(hashes).for_each(|(leaf, hash)| seen.tail.push(leaf, hash));
        seen.note = note.into();
        drop(seen);
        self.sizes.send_replace(size);
        Ok(from)
    }

    /// Writes full tiles, then begins a new journal with what is left.
    fn settle(&mut self) -> Result<(), TlogError> {
        let storage = self.tiles.storage();
        // Only this thread changes what is seen.
        let (full, rest, from, note) = {
            let Seen { tail, note, .. } = &*self.tiles.seen();
            let full: Vec<_> =
                tail.full().into_iter().filter_map(|tile| Some((tile, tail.tile(tile)?))).collect();
            (full, tail.rest(), tail.size() / WIDTH * WIDTH, Arc::clone(note))
        };
        let mut folders = BTreeSet::new();
        for (tile, bytes) in full {
            let name = format!("tile/{tile}");
            let mut folder = folder_of(&name);
            if folders.insert(folder.to_owned()) {
                storage.make_folder(folder)?;
            }
            put(storage, &name, &bytes)?;
            while !folder.is_empty() {
                folder = folder_of(folder);
                folders.insert(folder.to_owned());
            }
        }
        for folder in &folders {
            storage.sync_folder(folder)?;
        }
        let begun = begin(storage, Record { from, leaves: &rest, note: &note }, self.journal_bytes);
        // The old journal says the same, but which of both is there is unknown.
        self.end = begun.inspect_err(|error| self.poisoned = Some(error.to_string()))?;
        self.tiles.change().tail.settle();
        Ok(())
    }
}

/// Begins a journal. Returns where its first record ends.
fn begin<S: Storage>(storage: &S, first: Record<'_>, journal_bytes: usize) -> io::Result<usize> {
    let mut bytes = first.bytes();
    let end = bytes.len();
    bytes.resize(end.max(journal_bytes), 0);
    put(storage, JOURNAL, &bytes)?;
    storage.sync_folder("")?;
    Ok(end)
}
