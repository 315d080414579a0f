//! A gateway's disk in memory: it loses power between any two calls, and is full or faulty when told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;

use fastrand::Rng;
use gateway::buffer::StoreError;
use gateway::buffer::shelf::{BALLAST_BYTES, Changes, Room, Shelf, Visit};

/// Size of the disk, and what is free on it while others leave room, in bytes.
const DISK_BYTES: u64 = 32 << 30;
const FREE_BYTES: u64 = 16 << 30;

/// What changes replaced: keys, and their values before.
type Replaced = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Keys and values, and what a power cut may take back.
#[derive(Debug)]
pub struct Disk {
    random: Rng,
    live: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: u64,
    /// What each apply since the last sync replaced, oldest first.
    unsynced: Vec<Replaced>,
    witness: Vec<u8>,
    free_bytes: u64,
    ballast: bool,
    /// The power goes at the call after so many more.
    dies_in: Option<u32>,
    is_dead: bool,
    /// One of so many calls that write fails with the power on; 0: none.
    fails_in: u32,
}

impl Disk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            live: BTreeMap::new(),
            bytes: 0,
            unsynced: Vec::new(),
            witness: Vec::new(),
            free_bytes: FREE_BYTES,
            ballast: false,
            dies_in: None,
            is_dead: false,
            fails_in: 0,
        }
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the power has gone.
    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Takes the power away at the call after `calls` more.
    pub fn die_in(&mut self, calls: u32) {
        self.dies_in = Some(calls);
    }

    /// Makes one of so many calls that write fail, before or after the deed; 0: none.
    pub fn fail(&mut self, one_in: u32) {
        self.fails_in = one_in;
    }

    /// Others fill the disk but for so many bytes.
    pub fn fill(&mut self, left_bytes: u64) {
        self.free_bytes = left_bytes;
    }

    /// Others make room again.
    pub fn clear(&mut self) {
        self.free_bytes = FREE_BYTES;
    }

    /// Nothing fails any more.
    pub fn heal(&mut self) {
        (self.dies_in, self.fails_in) = (None, 0);
    }

    /// The power was away: of what was not synced some first part is there, and the rest never was.
    pub fn power_cut(&mut self) {
        let kept = self.random.usize(0..=self.unsynced.len());
        while self.unsynced.len() > kept {
            for (key, before) in self.unsynced.pop().into_iter().flatten().rev() {
                self.put(key, before);
            }
        }
        self.unsynced.clear();
        self.heal();
        self.is_dead = false;
    }

    /// Gives the store the room that was held back.
    pub fn free_ballast(&mut self) {
        if std::mem::take(&mut self.ballast) {
            self.free_bytes += BALLAST_BYTES;
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let key_bytes = key.len() as u64;
        let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, |value| key_bytes + value.len() as u64);
        self.bytes += size(&value);
        let before = match value {
            Some(value) => self.live.insert(key, value),
            None => self.live.remove(&key),
        };
        self.bytes -= size(&before);
        before
    }

    /// Counts a call that writes, and does it as far as the disk does.
    fn write(&mut self, work: impl FnOnce(&mut Self)) -> Result<(), StoreError> {
        let error = |text: &str| Err(StoreError::Io(io::Error::other(text)));
        if self.is_dead {
            return error("no power");
        }
        if let Some(calls) = self.dies_in {
            self.dies_in = calls.checked_sub(1);
            if calls == 0 {
                self.is_dead = true;
                if self.random.bool() {
                    work(self);
                }
                return error("power cut");
            }
        }
        if self.fails_in > 0 && self.random.u32(..self.fails_in) == 0 {
            if self.random.bool() {
                work(self);
            }
            // What it says need not be true either.
            let is_full = self.random.u32(..3) == 0;
            return if is_full {
                Err(StoreError::Io(io::ErrorKind::StorageFull.into()))
            } else {
                error("the disk says no")
            };
        }
        work(self);
        Ok(())
    }
}

/// The disk as its store sees it; clones share one disk, so that it outlives the store.
#[derive(Debug, Clone)]
pub struct SimShelf(pub Rc<RefCell<Disk>>);

impl SimShelf {
    /// Makes changes; `parts` says which of them a power cut keeps or loses together.
    fn change(
        &self,
        changes: Changes,
        parts: impl FnOnce(Replaced) -> Vec<Replaced>,
    ) -> Result<(), StoreError> {
        let mut disk = self.0.borrow_mut();
        // Every write takes room, a removal too: nothing is given back while the disk is full.
        let size = changes.0.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let bytes = size.sum::<usize>() as u64;
        if disk.free_bytes < bytes && !disk.is_dead {
            return Err(StoreError::Io(io::ErrorKind::StorageFull.into()));
        }
        disk.write(|disk| {
            disk.free_bytes -= bytes;
            let replaced = changes.0.into_iter().map(|(key, value)| (key.clone(), disk.put(key, value)));
            let replaced = parts(replaced.collect());
            disk.unsynced.extend(replaced);
        })
    }
}

impl Shelf for SimShelf {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.borrow().live.get(key).cloned())
    }

    fn scan(&self, prefix: u8, visit: Visit<'_>) -> Result<(), StoreError> {
        let disk = self.0.borrow();
        for (key, value) in disk.live.range(vec![prefix]..).take_while(|(key, _)| key[0] == prefix) {
            if visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, changes: Changes) -> Result<(), StoreError> {
        self.change(changes, |replaced| vec![replaced])
    }

    fn apply_in_order(&mut self, changes: Changes) -> Result<(), StoreError> {
        self.change(changes, |replaced| replaced.into_iter().map(|one| vec![one]).collect())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.0.borrow_mut().write(|disk| disk.unsynced.clear())
    }

    fn witness(&self) -> Vec<u8> {
        self.0.borrow().witness.clone()
    }

    fn set_witness(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.borrow_mut().write(|disk| disk.witness = bytes.to_vec())
    }

    fn room(&self) -> Room {
        let disk = self.0.borrow();
        Room { used_bytes: disk.bytes, blobs: 0, free_bytes: disk.free_bytes, disk_bytes: DISK_BYTES }
    }

    fn hold_ballast(&mut self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        if !disk.ballast {
            disk.free_bytes = disk.free_bytes.checked_sub(BALLAST_BYTES).ok_or(io::ErrorKind::StorageFull)?;
            disk.ballast = true;
        }
        Ok(())
    }
}
