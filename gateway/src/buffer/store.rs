//! The sled store itself: keys, values, one batch of changes at a time. See [`super`] for the why.
//!
//! Any call may panic when the store is damaged: [`super::keeper`] makes them inside `catch_unwind`.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wire::frame::{self, MAX_FRAME_BYTES};
use wire::{AlarmEvent, Alarms, GatewayId, Header, Lane, Loss, LossReason, Payload};

use super::{Heads, LaneHead};
use crate::batch::Packed;
use crate::clock::Stamp;

/// Size of a sled segment in bytes: written to the store's `conf`, another value is refused ever after.
const SEGMENT_BYTES: usize = 2 << 20;
// A leaf holds up to 16 values; past a quarter segment it would become a blob, a file that nothing syncs.
const _: () = assert!(MAX_FRAME_BYTES + SET_ASIDE_HEADER <= SEGMENT_BYTES / 80);
/// Memory sled may use for pages, in bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// Frames kept after ingest refused them, for a technician to look at; the oldest goes first.
pub(super) const MAX_SET_ASIDE: usize = 256;
/// Reason byte in front of a frame that was set aside.
const SET_ASIDE_HEADER: usize = 1;

/// Name of the witness file: see [`Store::write_witness`].
const WITNESS: &str = "witness";
/// What sled takes on disk whatever lies in it, in bytes.
const FLOOR_BYTES: u64 = 20 << 20;
/// Part of the quota above the floor that frames may fill, in percent: sled takes some 1.8 bytes of disk for each
/// byte of them.
const FILL_PERCENT: u64 = 40;
/// Part that remains after readings made room, in percent: few large losses explain better than many small ones.
const AFTER_DROP_PERCENT: u64 = 36;

/// Version of the keys and values below.
const FORMAT: u8 = 1;
const KEY_SET_ASIDE: u8 = 0xe0;
const KEY_META: u8 = 0xf0;
const KEY_RULE: u8 = 0xf1;
const KEY_EXPLAINED: u8 = 0xf2;
const KEY_FORMAT: [u8; 2] = [KEY_META, b'f'];
const KEY_STORE: [u8; 2] = [KEY_META, b's'];

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The operating system refused; the store may be sound.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The store is damaged.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Written by a later version.
    #[error(
        "its format is version {found}, this program reads version {FORMAT}: run the newer program, or move the folder away"
    )]
    Newer {
        /// The version found.
        found: u8,
    },
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

/// An open store.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    db: sled::Db,
    /// sled's one data file, to be synced after each flush.
    db_file: File,
    id: u64,
    lanes: [LaneHead; 5],
    /// Bytes of each waiting frame, by lane; 0 for one that is gone.
    sizes: [VecDeque<u16>; 5],
    /// Bytes of all waiting frames.
    live_bytes: u64,
    /// The witness as last written.
    witness: Vec<u8>,
    /// Gaps that a loss record explains: (lane, first) → last.
    explained: BTreeMap<(u8, u64), u64>,
    set_aside: usize,
    /// Changes not yet applied.
    batch: sled::Batch,
    /// Whether anything was staged or applied since the last sync.
    dirty: bool,
}

/// A gap found by the scan: sequences of a lane that should be there.
pub(super) type Gap = (Lane, u64, u64);

fn frame_key(lane: Lane, sequence: u64) -> [u8; 9] {
    let mut key = [lane as u8; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// Number of the store and next number of each lane, if the bytes are whole.
fn read_witness(bytes: &[u8]) -> Option<(u64, [u64; 5])> {
    let (body, checksum) = bytes.split_at_checked(48)?;
    if *checksum != frame::crc32c(body).to_le_bytes() {
        return None;
    }
    let mut numbers = body.chunks_exact(8).filter_map(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let id = numbers.next()?;
    let mut next = [0; 5];
    for (slot, number) in next.iter_mut().zip(numbers) {
        *slot = number;
    }
    Some((id, next))
}

fn lane_key(lane: Lane) -> [u8; 3] {
    [KEY_META, b'l', lane as u8]
}

fn explained_key(lane: Lane, from: u64) -> [u8; 10] {
    let mut key = [KEY_EXPLAINED; 10];
    key[1..].copy_from_slice(&frame_key(lane, from));
    key
}

fn tail_u64(bytes: &[u8]) -> Option<u64> {
    let at = bytes.len().checked_sub(8)?;
    bytes.get(at..).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes)
}

impl Store {
    /// Opens or creates the store in `dir`, makes its folders durable and checks every value.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<Gap>), StoreError> {
        fs::create_dir_all(dir)?;
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
        let db_file = File::open(dir.join("db"))?;
        let mut store = Self {
            dir: dir.into(),
            db,
            db_file,
            id: 0,
            lanes: [LaneHead { floor: 1, next: 1 }; 5],
            sizes: Default::default(),
            live_bytes: 0,
            witness: Vec::new(),
            explained: BTreeMap::new(),
            set_aside: 0,
            batch: sled::Batch::default(),
            dirty: false,
        };
        store.read_meta(&fs::read(dir.join(WITNESS)).unwrap_or_default())?;
        let gaps = store.scan()?;
        // A killed gateway may have left changes in the page cache: the witness and the shipper must not hear of
        // numbers that a power cut could still take back.
        store.sync()?;
        store.write_witness()?;
        Ok((store, gaps))
    }

    /// Writes down, outside of sled, which store this is and how far its numbers have come: sled opens a truncated
    /// file as an older state, or an empty one, without a word, and numbers would be given away a second time.
    pub(super) fn write_witness(&mut self) -> Result<(), StoreError> {
        let mut bytes = self.id.to_le_bytes().to_vec();
        for head in &self.lanes {
            bytes.extend(head.next.to_le_bytes());
        }
        bytes.extend(frame::crc32c(&bytes).to_le_bytes());
        if bytes == self.witness {
            return Ok(());
        }
        let new = self.dir.join("witness.new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(new, self.dir.join(WITNESS))?;
        File::open(&self.dir)?.sync_all()?;
        self.witness = bytes;
        Ok(())
    }

    fn read_meta(&mut self, witness: &[u8]) -> Result<(), StoreError> {
        let witness = read_witness(witness);
        let format = self.db.get(KEY_FORMAT)?;
        let id = self.db.get(KEY_STORE)?.as_deref().and_then(tail_u64);
        match (format.as_deref(), id) {
            (Some(&[FORMAT]), Some(id)) => self.id = id,
            (Some(&[found]), _) if found > FORMAT => return Err(StoreError::Newer { found }),
            (None, None) if self.db.is_empty() && witness.is_none() => {
                // 53 bits, so that the number survives JSON and spreadsheets.
                self.id = fastrand::u64(1..1 << 53);
                self.batch.insert(&KEY_FORMAT, &[FORMAT]);
                self.batch.insert(&KEY_STORE, &self.id.to_be_bytes());
                self.dirty = true;
                self.commit()?;
            }
            _ => return Err(StoreError::Damaged("its format or its number is missing".into())),
        }
        for lane in Lane::ALL {
            if let Some(value) = self.db.get(lane_key(lane))? {
                let head = (value.get(..8).and_then(tail_u64), value.get(8..16).and_then(tail_u64));
                let (Some(floor), Some(next)) = head else {
                    return Err(StoreError::Damaged(format!(
                        "the head of lane {} is not 16 bytes",
                        lane.as_str()
                    )));
                };
                self.lanes[lane as usize] = LaneHead { floor, next };
            }
        }
        if let Some((id, next)) = witness
            && (id != self.id || next.iter().zip(&self.lanes).any(|(next, head)| head.next < *next))
        {
            return Err(StoreError::Damaged("it has fallen back to an earlier state".into()));
        }
        for entry in self.db.scan_prefix([KEY_EXPLAINED]) {
            let (key, value) = entry?;
            if let (Some(&lane), Some(from), Some(to)) = (key.get(1), tail_u64(&key), tail_u64(&value)) {
                self.explained.insert((lane, from), to);
            }
        }
        self.set_aside = self.db.scan_prefix([KEY_SET_ASIDE]).count();
        Ok(())
    }

    /// Checks that every lane holds exactly its sequences, each in a sound frame. Removes what is not sound.
    fn scan(&mut self) -> Result<Vec<Gap>, StoreError> {
        let mut gaps: Vec<Gap> = Vec::new();
        for lane in Lane::ALL {
            let mut head = self.lanes[lane as usize];
            let mut expected = head.floor;
            for entry in self.db.scan_prefix([lane as u8]) {
                let (key, value) = entry?;
                let sound = match (key.len(), tail_u64(&key)) {
                    (9, Some(sequence)) if sequence >= expected => {
                        self.is_sound(lane, sequence, &value).then_some(sequence)
                    }
                    _ => None,
                };
                let Some(sequence) = sound else {
                    self.batch.remove(&key);
                    self.dirty = true;
                    continue;
                };
                if sequence > expected {
                    gaps.push((lane, expected, sequence - 1));
                }
                for _ in expected..sequence {
                    self.sizes[lane as usize].push_back(0);
                }
                self.grow(lane, value.len());
                expected = sequence + 1;
                // A head older than its frames would give their numbers away a second time.
                head.next = head.next.max(expected);
            }
            if expected < head.next {
                gaps.push((lane, expected, head.next - 1));
            }
            for _ in expected..head.next {
                self.sizes[lane as usize].push_back(0);
            }
            self.lanes[lane as usize] = head;
        }
        let explained = &self.explained;
        gaps.retain(|(lane, from, to)| {
            !explained.iter().any(|((l, f), t)| *l == *lane as u8 && f <= from && to <= t)
        });
        Ok(gaps)
    }

    /// Accounts for one more frame at the end of a lane.
    fn grow(&mut self, lane: Lane, bytes: usize) {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.sizes[lane as usize].push_back(bytes);
        self.live_bytes += u64::from(bytes);
    }

    fn is_sound(&self, lane: Lane, sequence: u64, value: &[u8]) -> bool {
        Header::peek(value).is_ok_and(|h| h.lane == lane && h.sequence == sequence && h.store == self.id)
    }

    /// Number of this store, which every frame carries.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// What lies in each lane.
    pub(super) fn heads(&self) -> Heads {
        Heads { store: self.id, lanes: self.lanes }
    }

    /// Next free number of a lane.
    pub(super) fn next(&self, lane: Lane) -> u64 {
        self.lanes[lane as usize].next
    }

    /// Frames that were set aside.
    pub(super) fn set_aside_frames(&self) -> usize {
        self.set_aside
    }

    /// Stages a frame for the next commit.
    pub(super) fn put(&mut self, frame: &Packed) {
        assert!(frame.bytes.len() <= MAX_FRAME_BYTES, "a frame over its bound would land in a blob");
        self.batch.insert(&frame_key(frame.lane, frame.sequence), frame.bytes.as_slice());
        let head = &mut self.lanes[frame.lane as usize];
        head.next = head.next.max(frame.sequence + 1);
        self.grow(frame.lane, frame.bytes.len());
        self.stage_head(frame.lane);
    }

    fn stage_head(&mut self, lane: Lane) {
        let head = self.lanes[lane as usize];
        let mut value = [0; 16];
        value[..8].copy_from_slice(&head.floor.to_be_bytes());
        value[8..].copy_from_slice(&head.next.to_be_bytes());
        self.batch.insert(&lane_key(lane), &value);
        self.dirty = true;
    }

    /// Stages the removal of everything in `lane` before `below`.
    pub(super) fn forget(&mut self, lane: Lane, below: u64) {
        let head = &mut self.lanes[lane as usize];
        let below = below.min(head.next);
        if below <= head.floor {
            return;
        }
        for sequence in head.floor..below {
            self.batch.remove(&frame_key(lane, sequence));
            self.live_bytes -= self.sizes[lane as usize].pop_front().map_or(0, u64::from);
        }
        head.floor = below;
        let passed: Vec<u64> = self
            .explained
            .range((lane as u8, 0)..=(lane as u8, u64::MAX))
            .filter(|(_, to)| **to < below)
            .map(|((_, from), _)| *from)
            .collect();
        for from in passed {
            self.explained.remove(&(lane as u8, from));
            self.batch.remove(&explained_key(lane, from));
        }
        self.stage_head(lane);
    }

    /// Notes that a gap has its loss record, so that the next start does not report it again.
    pub(super) fn explain(&mut self, lane: Lane, from: u64, to: u64) {
        self.explained.insert((lane as u8, from), to);
        self.batch.insert(&explained_key(lane, from), &to.to_be_bytes());
        self.dirty = true;
    }

    /// The bytes of a frame, if they are there and sound.
    pub(super) fn read(&self, lane: Lane, sequence: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db.get(frame_key(lane, sequence))?;
        Ok(value.filter(|value| self.is_sound(lane, sequence, value)).map(|value| value.to_vec()))
    }

    /// Whether a loss record already covers this number.
    pub(super) fn is_explained(&self, lane: Lane, sequence: u64) -> bool {
        let before = self.explained.range(..=(lane as u8, sequence)).next_back();
        before.is_some_and(|((l, _), to)| *l == lane as u8 && sequence <= *to)
    }

    /// Copies a refused frame aside with the reason byte; the loss to report, unless it was set aside before.
    pub(super) fn put_aside(
        &mut self,
        lane: Lane,
        sequence: u64,
        reason: u8,
        stamp: Stamp,
    ) -> Result<Option<Loss>, StoreError> {
        if self.is_explained(lane, sequence) {
            return Ok(None);
        }
        let mut count = 0;
        if let Some(bytes) = self.read(lane, sequence)? {
            count = Header::peek(&bytes).map_or(0, |header| u64::from(header.items));
            let mut key = vec![KEY_SET_ASIDE];
            key.extend(frame_key(lane, sequence));
            let mut value = vec![reason];
            value.extend(bytes);
            self.batch.insert(key, value);
            self.set_aside += 1;
            if self.set_aside > MAX_SET_ASIDE {
                // Frames of one commit are few, so the first applied one is older than any staged one.
                if let Some(oldest) = self.db.scan_prefix([KEY_SET_ASIDE]).next() {
                    self.batch.remove(&oldest?.0);
                    self.set_aside -= 1;
                }
            }
        }
        self.explain(lane, sequence, sequence);
        let loss = Loss {
            lane,
            from: sequence,
            to: sequence,
            count,
            reason: LossReason::Refused,
            mono_ms: stamp.mono_ms,
        };
        Ok(Some(loss))
    }

    /// Stages dropping the oldest readings when frames fill their part of the quota; the loss to report.
    pub(super) fn make_room(&mut self, quota_bytes: u64, stamp: Stamp) -> Result<Option<Loss>, StoreError> {
        let percent = quota_bytes.saturating_sub(FLOOR_BYTES) / 100;
        if self.live_bytes <= percent * FILL_PERCENT {
            return Ok(None);
        }
        let mut surplus = self.live_bytes.saturating_sub(percent * AFTER_DROP_PERCENT);
        let mut frames = 0;
        for size in &self.sizes[Lane::Reading as usize] {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(u64::from(*size));
            frames += 1;
        }
        let head = self.lanes[Lane::Reading as usize];
        let to = head.floor.saturating_add(frames).min(head.next);
        if to == head.floor {
            return Ok(None);
        }
        let mut count = 0;
        for sequence in head.floor..to {
            if let Some(value) = self.db.get(frame_key(Lane::Reading, sequence))? {
                count += Header::peek(&value).map_or(0, |header| u64::from(header.items));
            }
        }
        self.forget(Lane::Reading, to);
        Ok(Some(Loss {
            lane: Lane::Reading,
            from: head.floor,
            to: to - 1,
            count,
            reason: LossReason::Quota,
            mono_ms: stamp.mono_ms,
        }))
    }

    /// Stages what to remember of an alarm rule; an empty list forgets it.
    pub(super) fn remember_rule(
        &mut self,
        gateway: &GatewayId,
        rule: &str,
        events: Vec<AlarmEvent>,
        stamp: Stamp,
    ) {
        let mut key = vec![KEY_RULE];
        key.extend(rule.as_bytes());
        self.dirty = true;
        if events.is_empty() {
            self.batch.remove(key);
            return;
        }
        // A frame has its own checksum and bounds, so it serves here too. Two events always fit.
        let alarms = Payload::Alarms(Alarms { boot: stamp.boot, clock: stamp.clock, events });
        match frame::encode(gateway, self.id, 1, &alarms, wire::Codec::Plain) {
            Ok(bytes) => self.batch.insert(key, bytes),
            Err(error) => tracing::error!(rule, %error, "the state of a rule cannot be kept over a restart"),
        }
    }

    /// What was remembered of all rules.
    pub(super) fn remembered_rules(&self) -> Result<Vec<AlarmEvent>, StoreError> {
        let mut events = Vec::new();
        for entry in self.db.scan_prefix([KEY_RULE]) {
            let (_, value) = entry?;
            match wire::Frame::decode(&value).map(|frame| frame.payload) {
                Ok(Payload::Alarms(alarms)) => events.extend(alarms.events),
                Ok(_) | Err(_) => {
                    tracing::warn!("the remembered state of a rule is unreadable: it starts quiet")
                }
            }
        }
        Ok(events)
    }

    /// Hands the staged changes to sled without waiting for the disk: enough for removals, which cost a repeat at
    /// worst.
    pub(super) fn apply(&mut self) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut self.batch);
        self.db.apply_batch(batch)?;
        Ok(())
    }

    /// Makes everything staged and applied durable. Only after this may anyone be told that it is stored.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        if !self.dirty {
            return Ok(());
        }
        self.apply()?;
        self.db.flush()?; // sled's buffers to the page cache
        self.sync()?;
        self.dirty = false;
        Ok(())
    }

    /// The page cache to stable storage. Left out only by the power-cut rig, to show that it notices.
    fn sync(&self) -> Result<(), StoreError> {
        if cfg!(not(watchfire_flush_only)) {
            self.db_file.sync_data()?;
        }
        Ok(())
    }

    /// Bytes on disk (blocks, not lengths: the file is sparse) and files in `blobs/`, which must be none.
    pub(super) fn usage(&self) -> (u64, u64) {
        let mut bytes = 0;
        let mut blobs = 0;
        let folders: [(PathBuf, Option<&mut u64>); 2] =
            [(self.dir.clone(), None), (self.dir.join("blobs"), Some(&mut blobs))];
        for (folder, mut count) in folders {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for meta in entries.flatten().filter_map(|entry| entry.metadata().ok()) {
                bytes += meta.blocks() * 512;
                if let (Some(count), true) = (count.as_deref_mut(), meta.is_file()) {
                    *count += 1;
                }
            }
        }
        (bytes, blobs)
    }

    /// The numbers that wait in `lane`.
    pub(super) fn range(&self, lane: Lane) -> Range<u64> {
        let head = self.lanes[lane as usize];
        head.floor..head.next
    }
}

#[cfg(test)]
impl Store {
    /// Writes any bytes under a frame's key, as a bad disk might.
    pub(super) fn damage(&mut self, lane: Lane, sequence: u64, value: Option<&[u8]>) {
        let key = frame_key(lane, sequence);
        match value {
            Some(value) => self.batch.insert(&key, value),
            None => self.batch.remove(&key),
        }
        self.dirty = true;
        self.commit().expect("a sound store");
    }

    /// The reason and bytes of every frame that was set aside.
    pub(super) fn list_aside(&self) -> Vec<(u8, Vec<u8>)> {
        self.db
            .scan_prefix([KEY_SET_ASIDE])
            .map(|entry| entry.expect("a sound store").1)
            .map(|value| (value[0], value[1..].to_vec()))
            .collect()
    }
}
