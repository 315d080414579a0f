//! The files of the table of sensors: pages in two slots each.
//!
//! ```text
//! tables/fixed, tables/newest, tables/names:   page 0, slot 0 │ page 0, slot 1 │ page 1, slot 0 │ …
//! ```
//!
//! A page is written to the slot that the last checkpoint does not name, and the next checkpoint names that one with
//! its checksum. So a checkpoint costs what changed and not what there is, nothing has to be folded, and a crash at any
//! moment leaves the pages of the last checkpoint as they were: slots begin at whole blocks of the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};

use crate::log::{make_folder, sync_folder};
use crate::pool::pages::{Page, PageKind};

/// Where a page lies; an empty one lies nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
struct Entry {
    slot: u8,
    length: u32,
    crc: u32,
}

/// Which slots count, for a checkpoint: pages of each kind in the order of [`PageKind::ALL`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Map([Vec<Entry>; 3]);

impl Map {
    /// How many bytes it names.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().flatten().map(|entry| u64::from(entry.length)).sum()
    }

    fn get(&self, kind: PageKind, number: u32) -> Entry {
        self.0[kind as usize].get(number as usize).copied().unwrap_or_default()
    }
}

/// The files.
pub(super) struct Tables {
    folder: PathBuf,
    /// As the last checkpoint has it.
    map: Map,
}

impl Tables {
    /// Opens or makes the folder. `map` is that of the last checkpoint.
    pub(super) fn open(data: &Path, map: Map) -> io::Result<Self> {
        let folder = data.join("tables");
        make_folder(&folder)?;
        // A run that made a file and ended before this would leave it unsynced for ever.
        sync_folder(&folder)?;
        Ok(Self { folder, map })
    }

    fn path(&self, kind: PageKind) -> PathBuf {
        self.folder.join(kind.as_str())
    }

    /// Writes pages beside those that count, makes them last, and returns the map that names them. Until
    /// [`Tables::commit`] it may be done again.
    pub(super) fn write(&self, pages: &[Page]) -> io::Result<Map> {
        let mut map = self.map.clone();
        for kind in PageKind::ALL {
            let mut pages = pages.iter().filter(|page| page.kind == kind).peekable();
            if pages.peek().is_none() {
                continue;
            }
            let path = self.path(kind);
            let is_new = !path.exists();
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            let entries = &mut map.0[kind as usize];
            for Page { number, bytes, .. } in pages {
                let at = *number as usize;
                if entries.len() <= at {
                    entries.resize(at + 1, Entry::default());
                }
                // Told by the map that counts, not by what this may have written before.
                let slot = 1 - self.map.get(kind, *number).slot.min(1);
                file.write_all_at(bytes, offset(kind, *number, slot))?;
                let crc = wire::frame::crc32c(bytes);
                entries[at] = Entry { slot, length: bytes.len() as u32, crc };
            }
            file.sync_data()?;
            if is_new {
                sync_folder(&self.folder)?;
            }
        }
        Ok(map)
    }

    /// A checkpoint names this map from now on.
    pub(super) fn commit(&mut self, map: Map) {
        self.map = map;
    }

    /// For reading all pages in their order.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { tables: self, files: [const { None }; 3], wrong: None }
    }
}

fn offset(kind: PageKind, number: u32, slot: u8) -> u64 {
    (2 * u64::from(number) + u64::from(slot)) * kind.max_bytes() as u64
}

/// Reads pages.
pub(super) struct Reader<'a> {
    tables: &'a Tables,
    files: [Option<File>; 3],
    /// What was wrong with a page, for people.
    pub(super) wrong: Option<String>,
}

impl Reader<'_> {
    /// A page as the checkpoint names it, empty when it names none; `None` when it is not there any more.
    pub(super) fn page(&mut self, kind: PageKind, number: u32) -> Option<Vec<u8>> {
        let entry = self.tables.map.get(kind, number);
        if entry.length == 0 {
            return Some(Vec::new());
        }
        match self.read(kind, number, entry) {
            Ok(bytes) if wire::frame::crc32c(&bytes) == entry.crc => Some(bytes),
            Ok(_) => {
                let path = self.tables.path(kind);
                self.wrong =
                    Some(format!("{}: the checksum of page {number} does not match", path.display()));
                None
            }
            Err(error) => {
                let path = self.tables.path(kind);
                self.wrong = Some(format!("{}: page {number}: {error}", path.display()));
                None
            }
        }
    }

    fn read(&mut self, kind: PageKind, number: u32, entry: Entry) -> io::Result<Vec<u8>> {
        let place = &mut self.files[kind as usize];
        let file = match place {
            Some(file) => file,
            None => place.insert(File::open(self.tables.path(kind))?),
        };
        let mut bytes = vec![0; (entry.length as usize).min(kind.max_bytes())];
        file.read_exact_at(&mut bytes, offset(kind, number, entry.slot))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn page(number: u32, byte: u8) -> Page {
        let kind = PageKind::Newest;
        Page { kind, number, bytes: vec![byte; kind.max_bytes()] }
    }

    /// The first bytes of the first three pages.
    fn seen(tables: &Tables) -> [Option<u8>; 3] {
        let mut reader = tables.reader();
        [0, 1, 2].map(|number| reader.page(PageKind::Newest, number)?.first().copied())
    }

    #[test]
    fn what_no_checkpoint_names_was_never_written() {
        let data = tempfile::tempdir().unwrap();
        let mut tables = Tables::open(data.path(), Map::default()).unwrap();
        let first = tables.write(&[page(0, 1), page(2, 3)]).unwrap();
        assert_eq!(seen(&tables), [None; 3], "not yet");
        tables.commit(first.clone());
        assert_eq!(seen(&tables), [Some(1), None, Some(3)]);
        // Twice, the first time in part: as after a full disk.
        tables.write(&[page(0, 9)]).unwrap();
        let second = tables.write(&[page(0, 5), page(1, 6)]).unwrap();
        assert_eq!(
            seen(&Tables::open(data.path(), first).unwrap()),
            [Some(1), None, Some(3)],
            "a crash here"
        );
        tables.commit(second.clone());
        assert_eq!(seen(&Tables::open(data.path(), second.clone()).unwrap()), [Some(5), Some(6), Some(3)]);
        assert_eq!(second.bytes(), 3 * PageKind::Newest.max_bytes() as u64);
    }

    #[test]
    fn a_damaged_page_is_named() {
        let data = tempfile::tempdir().unwrap();
        let mut tables = Tables::open(data.path(), Map::default()).unwrap();
        let map = tables.write(&[page(0, 1), page(1, 2)]).unwrap();
        tables.commit(map);
        let path = data.path().join("tables/newest");
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[offset(PageKind::Newest, 1, 1) as usize] ^= 1;
        for (bytes, what) in [(bad, "checksum of page 1"), (good[..good.len() - 1].to_vec(), "page 1")] {
            fs::write(&path, bytes).unwrap();
            let mut reader = tables.reader();
            assert!(reader.page(PageKind::Newest, 0).is_some());
            assert_eq!(reader.page(PageKind::Newest, 1), None);
            let wrong = reader.wrong.unwrap();
            assert!(wrong.contains(what), "{wrong}");
        }
    }
}
