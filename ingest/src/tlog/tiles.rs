//! Reading the log: tiles, leaves and proofs, from any thread while it grows.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use seal::keys::Digest;
use seal::note::{Checkpoint, Note};
use seal::proof::Proof;

use super::TlogError;
use super::journal::leaves_of;
use super::prove::{self, Subtrees};
use super::storage::{Folder, Storage};
use super::tail::{Tail, fold};
use super::tile::{BITS, Kind, LEVELS, Tile, WIDTH};

/// What there is to see.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) tail: Tail,
    /// The newest checkpoint, signed.
    pub(super) note: Arc<str>,
    /// The newest one that witnesses cosigned, if any did.
    pub(super) cosigned: Option<Arc<str>>,
}

/// The log as readers have it. Cheap to clone; each reads what was committed when it asked.
#[derive(Debug)]
pub struct Tiles<S = Folder> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    storage: S,
    seen: RwLock<Seen>,
}

impl<S> Clone for Tiles<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Storage> Tiles<S> {
    pub(super) fn new(storage: S, seen: Seen) -> Self {
        Self { shared: Arc::new(Shared { storage, seen: RwLock::new(seen) }) }
    }

    pub(super) fn storage(&self) -> &S {
        &self.shared.storage
    }

    pub(super) fn seen(&self) -> RwLockReadGuard<'_, Seen> {
        self.shared.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Seen> {
        self.shared.seen.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.seen().tail.size()
    }

    /// The newest checkpoint, signed by the log alone.
    pub fn newest(&self) -> Arc<str> {
        self.seen().note.clone()
    }

    /// What the log shows to everybody: the newest checkpoint that witnesses cosigned. The newest of all where there are none.
    pub fn checkpoint(&self) -> Arc<str> {
        let seen = self.seen();
        seen.cosigned.as_ref().unwrap_or(&seen.note).clone()
    }

    /// The content of a tile; `None` when there is none of this width. A part of a tile is there also when the tile is full.
    ///
    /// # Errors
    /// The disk, or a file that is missing or too short.
    pub fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, TlogError> {
        let full = {
            let Seen { tail, .. } = &*self.seen();
            if !tail.is_settled(tile.kind, tile.index) {
                return Ok(tail.tile(tile));
            }
            Tile { width: WIDTH, ..tile }
        };
        let mut bytes = read(self.storage(), full)?;
        let length = match tile.kind {
            Kind::Hashes(_) => tile.width as usize * size_of::<Digest>(),
            Kind::Leaves => {
                let leaves = leaves_of(&bytes).filter(|leaves| leaves.len() as u64 == WIDTH);
                let leaves = leaves.ok_or_else(|| damaged(full))?;
                leaves.iter().take(tile.width as usize).map(|leaf| 2 + leaf.len()).sum()
            }
        };
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    /// A leaf.
    ///
    /// # Errors
    /// [`TlogError::NotThere`], or the disk.
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, TlogError> {
        let bundle = {
            let Seen { tail, .. } = &*self.seen();
            if index >= tail.size() {
                return Err(TlogError::NotThere { asked: index, size: tail.size() });
            }
            if let Some(leaf) = tail.leaf(index) {
                return Ok(leaf.to_vec());
            }
            Tile::full(Kind::Leaves, index / WIDTH)
        };
        let bytes = read(self.storage(), bundle)?;
        let leaf = leaves_of(&bytes).and_then(|leaves| leaves.get((index % WIDTH) as usize).copied());
        leaf.map(<[u8]>::to_vec).ok_or_else(|| damaged(bundle))
    }

    /// The root over the first `size` leaves.
    ///
    /// # Errors
    /// [`TlogError::NotThere`] when there are fewer, or the disk.
    pub fn root(&self, size: u64) -> Result<Digest, TlogError> {
        self.has(size)?;
        prove::root(&mut Reader::new(self), size)
    }

    /// The hashes from a leaf to the root over the first `size` leaves.
    ///
    /// # Errors
    /// [`TlogError::NotThere`], or the disk.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, TlogError> {
        self.has(size)?;
        if index >= size {
            return Err(TlogError::NotThere { asked: index, size });
        }
        prove::inclusion(&mut Reader::new(self), index, size)
    }

    /// The hashes that show that the first `size` leaves begin with the first `before`.
    ///
    /// # Errors
    /// [`TlogError::NotThere`], or the disk.
    pub fn consistency(&self, before: u64, size: u64) -> Result<Vec<Digest>, TlogError> {
        self.has(size)?;
        if before > size {
            return Err(TlogError::NotThere { asked: before, size });
        }
        prove::consistency(&mut Reader::new(self), before, size)
    }

    /// The proof that a leaf is in the log, for use without a network, under a checkpoint of this log, which is best one with
    /// enough cosignatures.
    ///
    /// # Errors
    /// [`TlogError::NotThere`] when the checkpoint is older than the leaf or none at all, or the disk.
    pub fn proof(&self, index: u64, note: &str) -> Result<String, TlogError> {
        let checkpoint = Note::parse(note.as_bytes()).and_then(|note| Checkpoint::parse(note.text));
        let size = checkpoint.map_or(0, |checkpoint| checkpoint.size);
        let path = self.inclusion(index, size)?;
        Ok(Proof { index, path, checkpoint: note }.text())
    }

    fn has(&self, size: u64) -> Result<(), TlogError> {
        let have = self.size();
        if size <= have { Ok(()) } else { Err(TlogError::NotThere { asked: size, size: have }) }
    }
}

fn damaged(tile: Tile) -> TlogError {
    TlogError::Damaged(format!("tile/{tile} is missing or not what it was"))
}

/// A full tile from disk.
fn read<S: Storage>(storage: &S, tile: Tile) -> Result<Vec<u8>, TlogError> {
    let bytes = storage.read(&format!("tile/{tile}"))?.ok_or_else(|| damaged(tile))?;
    let is_whole = tile.kind == Kind::Leaves || bytes.len() == WIDTH as usize * size_of::<Digest>();
    if is_whole { Ok(bytes) } else { Err(damaged(tile)) }
}

/// The hashes of a full tile from disk.
pub(super) fn hashes<S: Storage>(storage: &S, level: u8, index: u64) -> Result<Vec<Digest>, TlogError> {
    let bytes = read(storage, Tile::full(Kind::Hashes(level), index))?;
    let (hashes, _) = bytes.as_chunks::<32>();
    Ok(hashes.iter().map(|&hash| hash.into()).collect())
}

/// Hashes for one proof; each tile is read once.
pub(super) struct Reader<'a, S> {
    tiles: &'a Tiles<S>,
    /// A proof goes through two tiles of a level at most: the leaf's and the last one.
    read: Vec<(u8, u64, Vec<Digest>)>,
}

impl<'a, S> Reader<'a, S> {
    pub(super) fn new(tiles: &'a Tiles<S>) -> Self {
        Self { tiles, read: Vec::with_capacity(2 * usize::from(LEVELS)) }
    }
}

impl<S: Storage> Subtrees for Reader<'_, S> {
    type Error = TlogError;

    fn subtree(&mut self, bits: u32, index: u64) -> Result<Digest, TlogError> {
        // Below 8, as a size has 64 bits.
        let level = (bits / BITS) as u8;
        let count = 1 << (bits % BITS);
        let from = index * count;
        let number = from / WIDTH;
        {
            let Seen { tail, .. } = &*self.tiles.seen();
            if !tail.is_settled(Kind::Hashes(level), number) {
                let found = tail.subtree(level, from, count);
                return found.ok_or_else(|| TlogError::Damaged(format!("no hash {from} at level {level}")));
            }
        }
        let known = self.read.iter().position(|(l, n, _)| (*l, *n) == (level, number));
        let at = match known {
            Some(at) => at,
            None => {
                self.read.push((level, number, hashes(self.tiles.storage(), level, number)?));
                self.read.len() - 1
            }
        };
        let start = (from % WIDTH) as usize;
        Ok(fold(&self.read[at].2[start..start + count as usize]))
    }
}

impl From<io::Error> for TlogError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}
