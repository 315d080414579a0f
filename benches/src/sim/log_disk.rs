//! Ingest's log disk in memory: it tears what was not synced when the power goes, and is full when told.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use ingest::log::{SegmentFile, Storage};

/// What reaches a disk whole or not at all, in bytes.
const SECTOR: usize = 512;

#[derive(Default)]
struct Image {
    /// What the running system sees.
    live: Vec<u8>,
    /// What each write since the last sync replaced, oldest first.
    unsynced: Vec<(usize, Vec<u8>)>,
}

struct Disk {
    random: Rng,
    files: BTreeMap<u64, Image>,
    dies_in: Option<u32>,
    is_dead: bool,
    is_full: bool,
}

impl Disk {
    /// Counts a call that writes; whether it is still done, and what it then says.
    fn step(&mut self) -> (bool, io::Result<()>) {
        let cut = || Err(io::Error::other("power cut"));
        if self.is_dead {
            return (false, cut());
        }
        match self.dies_in {
            Some(0) => {
                self.is_dead = true;
                (self.random.bool(), cut())
            }
            dies_in => {
                self.dies_in = dies_in.map(|calls| calls - 1);
                (true, Ok(()))
            }
        }
    }
}

/// The disk; clones share one.
#[derive(Clone)]
pub struct LogDisk(Arc<Mutex<Disk>>);

/// An open segment.
pub struct Segment(LogDisk, u64);

impl LogDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let random = Rng::with_seed(seed);
        let files = BTreeMap::new();
        Self(Arc::new(Mutex::new(Disk { random, files, dies_in: None, is_dead: false, is_full: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the power away at the call after `calls` more.
    pub fn die_in(&self, calls: u32) {
        self.lock().dies_in = Some(calls);
    }

    /// Whether the power has gone.
    pub fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    /// Whether there is room for another segment.
    pub fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// The power was away: each sector that was not synced is there or never was.
    pub fn power_cut(&self) {
        let disk = &mut *self.lock();
        for image in disk.files.values_mut() {
            let keeps_percent = [0, 50, 90, 100][disk.random.usize(..4)];
            for (offset, before) in image.unsynced.drain(..).rev() {
                for (number, sector) in before.chunks(SECTOR).enumerate() {
                    if disk.random.u32(..100) >= keeps_percent {
                        let at = offset + number * SECTOR;
                        image.live[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
        (disk.dies_in, disk.is_dead) = (None, false);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        let mut disk = self.lock();
        (disk.dies_in, disk.is_full) = (None, false);
    }
}

fn no_file() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for LogDisk {
    type File = Segment;

    fn list(&mut self) -> io::Result<Vec<u64>> {
        Ok(self.lock().files.keys().copied().collect())
    }

    fn create(&mut self, base: u64, header: &[u8], length: u64) -> io::Result<Segment> {
        let mut disk = self.lock();
        if disk.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Made aside and renamed: whole or not there.
        let (done, said) = disk.step();
        if done {
            let mut live = vec![0; length as usize];
            live[..header.len()].copy_from_slice(header);
            disk.files.insert(base, Image { live, unsynced: Vec::new() });
        }
        said.map(|()| Segment(self.clone(), base))
    }

    fn open(&mut self, base: u64) -> io::Result<Segment> {
        self.lock().files.contains_key(&base).then(|| Segment(self.clone(), base)).ok_or_else(no_file)
    }

    fn remove(&mut self, base: u64) -> io::Result<()> {
        let mut disk = self.lock();
        let (done, said) = disk.step();
        if done {
            disk.files.remove(&base);
        }
        said
    }
}

impl SegmentFile for Segment {
    fn length(&self) -> io::Result<u64> {
        self.0.lock().files.get(&self.1).map(|image| image.live.len() as u64).ok_or_else(no_file)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let disk = self.0.lock();
        let bytes = &disk.files.get(&self.1).ok_or_else(no_file)?.live;
        let start = (offset as usize).min(bytes.len());
        Ok(bytes[start..start.saturating_add(length).min(bytes.len())].to_vec())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        let (done, said) = disk.step();
        let image = disk.files.get_mut(&self.1).ok_or_else(no_file)?;
        let at = offset as usize;
        if done {
            let place = image.live.get_mut(at..at + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            let before = place.to_vec();
            place.copy_from_slice(bytes);
            image.unsynced.push((at, before));
        }
        said
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.lock();
        let (done, said) = disk.step();
        if done && let Some(image) = disk.files.get_mut(&self.1) {
            image.unsynced.clear();
        }
        said
    }
}
