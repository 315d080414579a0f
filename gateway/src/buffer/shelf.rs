//! Where the store lies: keys and values that a power cut must not hurt. The only file that names sled; [`super`]
//! says why it is used this way.
//!
//! A call may panic when what lies there is damaged: [`super::keeper`] makes them inside `catch_unwind`.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::frame::MAX_FRAME_BYTES;

use super::StoreError;

/// Size of a sled segment in bytes: written to the store's `conf`, another value is refused ever after.
const SEGMENT_BYTES: usize = 2 << 20;
/// Most bytes a value has beside a frame: the reason of one that was set aside.
const VALUE_EXTRA: usize = 1;
// A leaf holds up to 16 values; past a quarter segment it would become a blob, a file that nothing syncs.
const _: () = assert!(MAX_FRAME_BYTES + VALUE_EXTRA <= SEGMENT_BYTES / 80);
/// How often, and after what pause, a file is looked at whose earlier handle is not closed yet: half a second, which
/// an alarm can wait.
const LET_GO: (u32, Duration) = (50, Duration::from_millis(10));
/// Memory sled may use for pages, in bytes: it is written and read in order, so that little is asked for twice.
const CACHE_BYTES: u64 = 2 << 20;
/// What is taken on disk whatever lies in it, in bytes: 20 MiB by sled, what is held ahead, and the ballast.
pub(super) const FLOOR_BYTES: u64 = (20 << 20) + AHEAD_BYTES + BALLAST_BYTES;
/// Name of the file that says, outside of sled, which store this is and how far its numbers have come.
const WITNESS: &str = "witness";
/// Name of the file whose room the store gets when the disk is full.
const BALLAST: &str = "ballast";
/// Size of that file in bytes: opening a store again writes, and a full disk must not keep a box from starting.
pub const BALLAST_BYTES: u64 = 4 << 20;
/// Bytes that are held behind the end of the store's file, where nobody else can take them: two segments, enough for
/// thousands of alarms.
const AHEAD_BYTES: u64 = 4 << 20;

/// Changes that are made together or not at all; of two to the same key the later counts.
#[derive(Debug, Default)]
pub struct Changes(pub Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Changes {
    /// Stages a value.
    pub fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((key.into(), Some(value.into())));
    }

    /// Stages a removal.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.0.push((key.into(), None));
    }
}

/// What is seen of a key and its value; it says when to stop.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes on disk: blocks, not lengths, for the file is sparse.
    pub used_bytes: u64,
    /// Files that nothing syncs; must be 0.
    pub blobs: u64,
    /// Free bytes of the file system, as far as this process may use them.
    pub free_bytes: u64,
    /// Size of the file system in bytes.
    pub disk_bytes: u64,
}

/// Keys and values in the order of their bytes.
pub trait Shelf: Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits everything whose key begins with `prefix`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&self, prefix: u8, visit: Visit<'_>) -> Result<(), StoreError>;

    /// Makes changes that are seen at once, and are durable after the next [`Shelf::sync`]; before it a power cut may
    /// keep all of them or none.
    ///
    /// # Errors
    /// [`StoreError`].
    fn apply(&mut self, changes: Changes) -> Result<(), StoreError>;

    /// The same one after the other: a power cut may keep the first few, and an error too. This spares the disk pages.
    ///
    /// # Errors
    /// [`StoreError`].
    fn apply_in_order(&mut self, changes: Changes) -> Result<(), StoreError>;

    /// Returns when everything applied is on stable storage.
    ///
    /// # Errors
    /// [`StoreError`].
    fn sync(&mut self) -> Result<(), StoreError>;

    /// The witness as it was found; empty when there is none.
    fn witness(&self) -> Vec<u8>;

    /// Replaces the witness, whole and durable.
    ///
    /// # Errors
    /// [`StoreError`].
    fn set_witness(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// How much room there is.
    fn room(&self) -> Room;

    /// Holds room back for a full disk, unless it is held already.
    ///
    /// # Errors
    /// Of the operating system: there is no room to hold.
    fn hold_ballast(&mut self) -> io::Result<()>;
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            // What a machine does to a sound store. Everything else that sled says of a file is damage.
            sled::Error::Io(io)
                if matches!(
                    io.kind(),
                    io::ErrorKind::PermissionDenied
                        | io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::Interrupted
                ) =>
            {
                Self::Io(io)
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Waits until an earlier handle of this process is closed: after an error sled's own threads may still hold the file
/// for a moment, and sled would call that damage. Other processes are kept out by the folder's own lock.
fn wait_for_lock(db: &Path) -> Result<(), StoreError> {
    let Ok(file) = File::open(db) else { return Ok(()) };
    for _ in 0..LET_GO.0 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LET_GO.1),
            // Given back at once: sled locks it itself.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    Err(StoreError::Io(io::ErrorKind::WouldBlock.into()))
}

/// What sled names a snapshot of its tables until it is whole.
const UNFINISHED: &str = ".generating";

/// Removes a snapshot that a killed process had half written: sled 0.34.7 would take it for the newest one (it looks for
/// files of another ending) and call the store corrupt. The one before is there until the new one has its name.
fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A sled store in a folder of its own.
#[derive(Debug)]
pub struct SledShelf {
    dir: PathBuf,
    db: sled::Db,
    /// sled's one data file, to be synced after each flush.
    db_file: File,
    /// Where it ended when room was last held behind its end; `None` when there was none to hold.
    held_at: Option<u64>,
}

impl SledShelf {
    /// Opens or creates the store in `dir` and makes its folders durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir)?;
        wait_for_lock(&dir.join("db"))?;
        remove_unfinished_snapshots(dir)?;
        let db = sled::Config::default()
            .path(dir)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()?;
        for folder in [Some(dir), Some(dir.join("blobs").as_path()), dir.parent()].into_iter().flatten() {
            if folder.is_dir() {
                File::open(folder)?.sync_all()?;
            }
        }
        let db_file = OpenOptions::new().read(true).write(true).open(dir.join("db"))?;
        let mut shelf = Self { dir: dir.into(), db, db_file, held_at: None };
        shelf.hold_ahead();
        Ok(shelf)
    }

    /// Holds room behind the end of the file: when others fill the disk, what matters is written there. sled cuts the
    /// file when its last segments are empty, and the room goes with them: so it is looked at after each commit.
    fn hold_ahead(&mut self) {
        let Ok(end) = self.db_file.metadata().map(|meta| meta.len()) else { return };
        if self.held_at.is_some_and(|held| (held..held + AHEAD_BYTES / 2).contains(&end)) {
            return;
        }
        // A file system that cannot do it has the ballast.
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        self.held_at = rustix::fs::fallocate(&self.db_file, flags, end, AHEAD_BYTES).ok().map(|()| end);
    }

    /// Gives the store in `dir` the room that was held back for a full disk.
    ///
    /// # Errors
    /// Of the operating system.
    pub(super) fn free_ballast(dir: &Path) -> io::Result<()> {
        match fs::remove_file(dir.join(BALLAST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn within_bound(value: Vec<u8>) -> Vec<u8> {
    assert!(value.len() <= MAX_FRAME_BYTES + VALUE_EXTRA, "a value over its bound would land in a blob");
    value
}

impl Shelf for SledShelf {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: u8, visit: Visit<'_>) -> Result<(), StoreError> {
        for entry in self.db.scan_prefix([prefix]) {
            let (key, value) = entry?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, changes: Changes) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes.0 {
            match value {
                Some(value) => batch.insert(key, within_bound(value)),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch)?;
        Ok(())
    }

    // sled writes what it has before and after the note that begins a batch, each time to the disk: three writes of the
    // same page for each small commit. Its log keeps order, so that without batches a cut leaves the first few.
    fn apply_in_order(&mut self, changes: Changes) -> Result<(), StoreError> {
        for (key, value) in changes.0 {
            match value {
                Some(value) => self.db.insert(key, within_bound(value))?,
                None => self.db.remove(key)?,
            };
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.db.flush()?; // sled's buffers to the page cache
        // The page cache to stable storage. Left out only by the power-cut rig, to show that it notices.
        if cfg!(not(watchfire_flush_only)) {
            self.db_file.sync_data()?;
        }
        self.hold_ahead();
        Ok(())
    }

    fn witness(&self) -> Vec<u8> {
        fs::read(self.dir.join(WITNESS)).unwrap_or_default()
    }

    fn set_witness(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let new = self.dir.join("witness.new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, self.dir.join(WITNESS))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }

    fn room(&self) -> Room {
        let mut room = Room { used_bytes: 0, blobs: 0, free_bytes: u64::MAX, disk_bytes: u64::MAX };
        for (folder, is_blobs) in [(self.dir.clone(), false), (self.dir.join("blobs"), true)] {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for meta in entries.flatten().filter_map(|entry| entry.metadata().ok()) {
                room.used_bytes += meta.blocks() * 512;
                room.blobs += u64::from(is_blobs && meta.is_file());
            }
        }
        if let Ok(disk) = rustix::fs::statvfs(&self.dir) {
            room.free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
            room.disk_bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
        }
        room
    }

    fn hold_ballast(&mut self) -> io::Result<()> {
        let path = self.dir.join(BALLAST);
        if fs::metadata(&path).is_ok_and(|meta| meta.blocks() * 512 >= BALLAST_BYTES) {
            return Ok(());
        }
        let made = (|| {
            let mut file = File::create(&path)?;
            // Written, not only announced: some file systems promise room that they do not have.
            let zeros = vec![0; 1 << 20];
            for _ in 0..BALLAST_BYTES >> 20 {
                file.write_all(&zeros)?;
            }
            file.sync_all()
        })();
        if made.is_err() {
            // A part of it would only be in the way.
            fs::remove_file(&path)?;
        }
        made
    }
}
