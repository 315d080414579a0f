//! A look at the buffer of a gateway that does not run: what a start would find.
//!
//! The store is copied first, and the copy is opened exactly as a start opens it: opening writes, and a dead box's
//! card is evidence. The card may be mounted read-only; the copy needs as much room in the folder for temporary files.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use wire::Lane;

use super::StoreError;
use super::keeper::{DAMAGED, guarded};
use super::shelf::SledShelf;
use super::store::Store;

/// What lies in a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The store, or why a start would set it aside.
    pub store: Result<Contents, String>,
    /// Names of damaged stores that earlier starts set aside, oldest first.
    pub damaged: Vec<String>,
}

impl Inspection {
    /// Whether a start would find everything it counts on.
    pub fn is_sound(&self) -> bool {
        self.store.as_ref().is_ok_and(|store| {
            store.blob_files == 0 && store.lanes.iter().all(|(_, lane)| lane.unexplained.is_empty())
        })
    }
}

/// What lies in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Number of the store.
    pub id: u64,
    /// Every lane.
    pub lanes: Vec<(Lane, LaneContents)>,
    /// Frames that ingest refused.
    pub set_aside: usize,
    /// Files in `blobs/`: must be 0.
    pub blob_files: u64,
}

/// What lies in a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneContents {
    /// Everything below was acknowledged, or dropped with a loss record.
    pub floor: u64,
    /// The number the next frame will get.
    pub next: u64,
    /// Sound frames that wait.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Numbers without a frame that a loss record explains, as (first, last).
    pub explained: Vec<(u64, u64)>,
    /// Numbers without a frame and without a record: the next start will write one.
    pub unexplained: Vec<(u64, u64)>,
}

/// Why nothing can be said of a buffer.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is none.
    #[error(
        "{0} 里没有缓冲区 has no buffer in it: give the folder that `data` in the gateway's file names, on the mounted card"
    )]
    Missing(String),
    /// A gateway runs on it.
    #[error("{0} 正被网关使用 is in use by a gateway: ask `gateway status`, or stop it first")]
    InUse(String),
    /// It cannot be read or copied, or a later version wrote it.
    #[error("{dir} 里的缓冲区无法检查 the buffer in {dir} cannot be looked at: {why}")]
    Unreadable {
        /// The data folder.
        dir: String,
        /// The reason.
        why: String,
    },
}

/// A copy that goes when it is no longer needed.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        // What stays behind lies in the folder for temporary files, where it hurts nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Looks at the buffer in `data` and shows every sound frame to `visit`. Changes nothing there.
///
/// # Errors
/// [`InspectError`]; a damaged store is not one.
pub fn inspect(data: &Path, mut visit: impl FnMut(Lane, u64, &[u8])) -> Result<Inspection, InspectError> {
    let name = data.display().to_string();
    let folder = data.join("buffer");
    let damaged = damaged(data);
    if !folder.is_dir() {
        return Err(InspectError::Missing(name));
    }
    // Held to the end: no gateway starts on it meanwhile.
    let lock = File::open(data.join("lock")).ok();
    if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock_shared) {
        return Err(InspectError::InUse(name));
    }
    let unreadable =
        |error: &dyn ToString| InspectError::Unreadable { dir: name.clone(), why: error.to_string() };
    let number = fastrand::u64(..);
    let copy = Copy(std::env::temp_dir().join(format!("watchfire-inspect-{number:016x}")));
    copy_folder(&folder, &copy.0).map_err(|error| unreadable(&error))?;
    let store = match guarded(|| look(&copy.0, &mut visit)) {
        Ok(contents) => Ok(contents),
        Err(StoreError::Damaged(why)) => Err(why),
        Err(error) => return Err(unreadable(&error)),
    };
    Ok(Inspection { store, damaged })
}

fn look(folder: &Path, visit: &mut impl FnMut(Lane, u64, &[u8])) -> Result<Contents, StoreError> {
    // A start reports these gaps and goes on; here they are found once more, number by number.
    let (store, _gaps) = Store::open(SledShelf::open(folder)?)?;
    let mut lanes = Vec::with_capacity(Lane::ALL.len());
    for lane in Lane::ALL {
        let range = store.range(lane);
        let mut contents = LaneContents { floor: range.start, next: range.end, ..LaneContents::default() };
        for sequence in range {
            match store.read(lane, sequence)? {
                Some(frame) => {
                    contents.frames += 1;
                    contents.bytes += frame.len() as u64;
                    visit(lane, sequence, &frame);
                }
                None if store.is_explained(lane, sequence) => extend(&mut contents.explained, sequence),
                None => extend(&mut contents.unexplained, sequence),
            }
        }
        lanes.push((lane, contents));
    }
    let blob_files = store.room().blobs;
    Ok(Contents { id: store.id(), lanes, set_aside: store.set_aside_frames(), blob_files })
}

/// Adds the next number to ascending ranges.
fn extend(ranges: &mut Vec<(u64, u64)>, sequence: u64) {
    match ranges.last_mut() {
        Some((_, last)) if *last + 1 == sequence => *last = sequence,
        _ => ranges.push((sequence, sequence)),
    }
}

fn damaged(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut damaged: Vec<String> = names.filter(|name| name.starts_with(DAMAGED)).collect();
    damaged.sort();
    damaged
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tempfile::TempDir;
    use wire::{BootId, GatewayId, Header, Health, Payload};

    use super::*;
    use crate::buffer::{Opened, open};
    use crate::testing::{clock, stamp};

    fn start(folder: &TempDir) -> Opened {
        open(folder.path(), &GatewayId::new("gw").unwrap(), 1 << 30, || stamp(77)).unwrap()
    }

    /// Keeps so many health frames and stops.
    fn keep(opened: Opened, frames: usize) {
        for _ in 0..frames {
            let health = Health { boot: BootId(1), clock: clock(0), mono_ms: 1, gauges: Vec::new() };
            opened.buffer.keep_blocking(Payload::Health(health), Vec::new()).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(opened.buffer.stop());
        opened.thread.join().unwrap();
    }

    /// Every file below a folder.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| match path.is_dir() {
                true => files(&path),
                false => BTreeMap::from([(path.clone(), fs::read(path).unwrap())]),
            })
            .collect()
    }

    fn health(found: &Inspection) -> &LaneContents {
        let lanes = &found.store.as_ref().unwrap().lanes;
        &lanes.iter().find(|(lane, _)| *lane == Lane::Health).unwrap().1
    }

    #[test]
    fn a_sound_store_is_told_frame_by_frame_and_not_touched() {
        let folder = TempDir::new().unwrap();
        keep(start(&folder), 3);
        let before = files(folder.path());
        let mut seen = Vec::new();
        let found = inspect(folder.path(), |lane, sequence, frame| {
            assert_eq!(Header::peek(frame).unwrap().sequence, sequence);
            seen.push((lane, sequence));
        })
        .unwrap();
        assert_eq!(seen, [(Lane::Health, 1), (Lane::Health, 2), (Lane::Health, 3)]);
        assert!(found.is_sound());
        assert_eq!((health(&found).floor, health(&found).next, health(&found).frames), (1, 4, 3));
        assert_eq!(files(folder.path()), before);
    }

    #[test]
    fn holes_and_damage_are_told_and_left_to_the_next_start() {
        let folder = TempDir::new().unwrap();
        keep(start(&folder), 4);
        {
            let (mut store, _) =
                Store::open(SledShelf::open(&folder.path().join("buffer")).unwrap()).unwrap();
            store.damage(Lane::Health, 2, None);
            store.damage(Lane::Health, 3, Some(b"rubbish"));
        }
        let found = inspect(folder.path(), |_, _, _| {}).unwrap();
        assert!(!found.is_sound());
        assert_eq!((health(&found).frames, &health(&found).unexplained), (2, &vec![(2, 3)]));

        keep(start(&folder), 1);
        let found = inspect(folder.path(), |_, _, _| {}).unwrap();
        assert!(found.is_sound(), "the start has explained it");
        assert_eq!((&health(&found).explained, health(&found).next), (&vec![(2, 3)], 7));

        fs::write(folder.path().join("buffer").join("db"), vec![7; 4096]).unwrap();
        let found = inspect(folder.path(), |_, _, _| {}).unwrap();
        assert!(found.store.is_err() && found.damaged.is_empty() && !found.is_sound());
        keep(start(&folder), 1);
        let found = inspect(folder.path(), |_, _, _| {}).unwrap();
        assert_eq!((found.damaged.len(), found.is_sound()), (1, true), "set aside, and a fresh one begun");
    }

    #[test]
    fn nothing_and_a_living_gateway_are_refused() {
        let folder = TempDir::new().unwrap();
        assert!(matches!(inspect(folder.path(), |_, _, _| {}), Err(InspectError::Missing(_))));
        let opened = start(&folder);
        assert!(matches!(inspect(folder.path(), |_, _, _| {}), Err(InspectError::InUse(_))));
        keep(opened, 0);
    }
}
