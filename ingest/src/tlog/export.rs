//! The whole log as files: what a web server without any code can serve, and a stranger can check.

use std::fs;
use std::path::Path;

use seal::note::{Checkpoint, Note};

use super::storage::Storage;
use super::tile::{BITS, Kind, LEVELS, Tile, WIDTH};
use super::{Tiles, TlogError};

/// The tiles that a tree of `size` leaves has, the last of each level only as wide as it is.
pub(crate) fn tiles_of(size: u64) -> impl Iterator<Item = Tile> {
    let of_level = move |(kind, level): (Kind, u8)| {
        let count = size >> (BITS * u32::from(level));
        (0..count.div_ceil(WIDTH)).map(move |index| Tile {
            kind,
            index,
            width: WIDTH.min(count - index * WIDTH),
        })
    };
    let levels = (0..LEVELS).map(|level| (Kind::Hashes(level), level));
    std::iter::once((Kind::Leaves, 0)).chain(levels).flat_map(of_level)
}

impl<S: Storage> Tiles<S> {
    /// Writes what belongs to [`Tiles::checkpoint`] below a folder, laid out as the specification wants it served. Returns how
    /// many leaves that has.
    ///
    /// # Errors
    /// [`TlogError`]: the log's disk, or the folder's.
    pub fn export(&self, folder: &Path) -> Result<u64, TlogError> {
        let note = self.checkpoint();
        let checkpoint = Note::parse(note.as_bytes()).and_then(|note| Checkpoint::parse(note.text));
        let size = checkpoint.map_or(0, |checkpoint| checkpoint.size);
        for tile in tiles_of(size) {
            let path = folder.join(format!("tile/{tile}"));
            let bytes =
                self.tile(tile)?.ok_or_else(|| TlogError::Damaged(format!("there is no tile/{tile}")))?;
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, bytes)?;
        }
        fs::write(folder.join("checkpoint"), note.as_bytes())?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_the_tiles_that_the_specification_says() {
        // Its own example: 273 full, one partial and so on for a size of 70,000.
        let names = |size| tiles_of(size).map(|tile| tile.to_string()).collect::<Vec<_>>();
        let all = names(70_000);
        assert_eq!(all.iter().filter(|name| name.starts_with("0/")).count(), 274);
        assert_eq!(all.iter().filter(|name| name.starts_with("entries/")).count(), 274);
        for name in ["0/272", "0/273.p/112", "1/000", "1/001.p/17", "2/000.p/1", "entries/273.p/112"] {
            assert!(all.iter().any(|one| one == name), "{name}");
        }
        assert_eq!(all.len(), 2 * 274 + 3);
        assert_eq!(names(256), ["entries/000", "0/000", "1/000.p/1"]);
        assert!(names(0).is_empty());
    }
}
