//! Opening: what survived, and whether it is what was shown.

use seal::keys::Digest;
use seal::note::{Checkpoint, Note, NoteKey};
use seal::tree;

use super::journal::{self, leaves_of};
use super::prove::Frontier;
use super::tail::{Tail, fold};
use super::tile::{Kind, Tile, WIDTH};
use super::tiles::{self, Reader, Seen};
use super::{COSIGNED, JOURNAL, Storage, Tiles, TlogError};

/// What was found.
pub(super) struct Found<S> {
    pub(super) tiles: Tiles<S>,
    pub(super) frontier: Frontier,
    /// Where the next record goes in the journal; 0 when there is none, as in a new log.
    pub(super) end: usize,
    /// Whether a commit was cut short there.
    pub(super) is_torn: bool,
}

/// The checkpoint of a note that this log signed.
fn checkpoint_of(note: &str, log: &NoteKey) -> Result<Checkpoint, TlogError> {
    let read = Note::parse(note.as_bytes()).and_then(|read| Some((Checkpoint::parse(read.text)?, read)));
    let (checkpoint, read) = read.ok_or_else(|| TlogError::Damaged("a checkpoint cannot be read".into()))?;
    if checkpoint.origin != log.name || !read.is_signed_by(log) {
        return Err(TlogError::Other { expected: log.name.clone(), found: checkpoint.origin });
    }
    Ok(checkpoint)
}

/// The hashes of levels 1 and up that `settled` leaves make and that lie in no full tile.
fn upper<S: Storage>(storage: &S, settled: u64) -> Result<Vec<Vec<Digest>>, TlogError> {
    let mut levels = Vec::new();
    let (mut level, mut count) = (0, settled / WIDTH);
    while count > 0 {
        let last = count / WIDTH * WIDTH..count;
        let roots = last.map(|index| Ok(fold(&tiles::hashes(storage, level, index)?)));
        levels.push(roots.collect::<Result<_, TlogError>>()?);
        (level, count) = (level + 1, count / WIDTH);
    }
    Ok(levels)
}

/// Reads what there is.
pub(super) fn find<S: Storage>(storage: S, log: &NoteKey) -> Result<Found<S>, TlogError> {
    let cosigned = storage.read(COSIGNED)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let shown = cosigned.as_deref().map(|note| checkpoint_of(note, log)).transpose()?;
    let Some(bytes) = storage.read(JOURNAL)? else {
        let first = Tile::full(Kind::Hashes(0), 0);
        if shown.is_some() || storage.read(&format!("tile/{first}"))?.is_some() {
            return Err(TlogError::Damaged("the journal is missing".into()));
        }
        let seen = Seen { tail: Tail::after(0, Vec::new()), note: "".into(), cosigned: None };
        let tiles = Tiles::new(storage, seen);
        return Ok(Found { tiles, frontier: Frontier::default(), end: 0, is_torn: false });
    };
    // What a killed process left in the system's memory only would be shown below as if it were durable.
    storage.sync(JOURNAL)?;
    storage.sync_folder("")?;
    let damaged = || TlogError::Damaged("the journal cannot be read".into());
    let found = journal::read(&bytes).ok_or_else(damaged)?;
    let (Some(first), Some(last)) = (found.records.first(), found.records.last()) else {
        return Err(damaged());
    };
    let checkpoint = checkpoint_of(last.note, log)?;
    if !first.from.is_multiple_of(WIDTH) {
        return Err(damaged());
    }
    let mut tail = Tail::after(first.from, upper(&storage, first.from)?);
    for record in &found.records {
        for leaf in leaves_of(record.leaves).ok_or_else(damaged)? {
            tail.push(leaf, tree::leaf(leaf));
        }
    }
    let size = tail.size();
    let seen = Seen { tail, note: last.note.into(), cosigned: cosigned.map(Into::into) };
    let tiles = Tiles::new(storage, seen);
    if checkpoint.size != size || checkpoint.root != tiles.root(size)? {
        let what = format!("the {size} leaves found are not those of the newest checkpoint");
        return Err(TlogError::Damaged(what));
    }
    if let Some(shown) = shown
        && (shown.size > size || tiles.root(shown.size)? != shown.root)
    {
        let what =
            format!("the {size} leaves found do not begin with the {} that witnesses have seen", shown.size);
        return Err(TlogError::Damaged(what));
    }
    let frontier = Frontier::of(&mut Reader::new(&tiles), size)?;
    Ok(Found { tiles, frontier, end: found.end, is_torn: found.is_torn })
}
