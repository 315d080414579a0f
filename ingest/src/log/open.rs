//! Opening: what survived, what was torn, what is damaged.

use std::io;
use std::ops::Range;

use super::record::{ALIGN, read};
use super::writer::{HEADER, Log, Segment, header, read_header};
use super::{LogConfig, Record, SegmentFile, Storage};

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// The disk.
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The visitor did not want a record.
    #[error("{0}")]
    Visitor(E),
}

/// What was found on opening.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Records read.
    pub records: u64,
    /// Bytes of an unfinished commit that were cut off; nobody had been told of them.
    pub cut_bytes: u64,
    /// Ranges of positions that had been durable and are not readable any more.
    pub damaged: Vec<Range<u64>>,
}

/// How far one segment could be read.
struct Scan {
    /// End of the last good record.
    end: u64,
    /// One past the last byte that is not zero.
    used: u64,
}

impl<S: Storage> Log<S> {
    /// Opens the log and hands every record from position `from` on to `visit`, in order. `created_ms` dates a
    /// first segment, should there be none.
    ///
    /// # Errors
    /// [`OpenError`]: the disk, or what `visit` said.
    pub fn open<E>(
        mut storage: S,
        config: LogConfig,
        from: u64,
        created_ms: i64,
        mut visit: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(Self, Opened), OpenError<E>> {
        let mut opened = Opened::default();
        let mut segments = Vec::new();
        for base in storage.list()? {
            let head = storage.open(base)?.read(0, HEADER as usize)?;
            let created = read_header(&head, base);
            if created.is_none() {
                opened.damaged.push(base..base + HEADER);
            }
            segments.push(Segment { base, created_ms: created.unwrap_or(created_ms) });
        }
        let first = segments.iter().rposition(|segment| segment.base <= from).unwrap_or(0);
        if let Some(segment) = segments.get(first)
            && segment.base > from
        {
            opened.damaged.push(from..segment.base);
        }
        let mut position = from;
        let mut open_file = None;
        for index in first..segments.len() {
            let base = segments[index].base;
            let next = segments.get(index + 1).map(|segment| segment.base);
            let mut file = storage.open(base)?;
            let length = file.length()?;
            let bytes = file.read(0, usize::try_from(length).unwrap_or(usize::MAX))?;
            let start = from.max(base + HEADER);
            let scan =
                scan(&bytes, base, start, next, &mut opened, &mut visit).map_err(OpenError::Visitor)?;
            position = scan.end;
            if next.is_none() {
                if scan.used > scan.end {
                    // Bytes of a commit that nobody was told of must not follow a later record.
                    opened.cut_bytes += scan.used - scan.end;
                    file.write(scan.end - base, &vec![0; (scan.used - scan.end) as usize])?;
                    file.sync()?;
                }
                open_file = Some((file, length));
            }
        }
        let (file, length) = match open_file {
            Some(open) => open,
            None => {
                let base = from.next_multiple_of(ALIGN as u64);
                let file = storage.create(base, &header(base, created_ms), config.segment_bytes)?;
                segments.push(Segment { base, created_ms });
                position = base + HEADER;
                (file, config.segment_bytes)
            }
        };
        let buffer = Vec::new();
        Ok((Self { storage, config, segments, file, length, position, poisoned: None, buffer }, opened))
    }
}

/// Hands the records that end within `stretch` to `visit`, in order, without changing anything. Returns the ranges that
/// cannot be read.
///
/// # Errors
/// What the disk says.
pub(crate) fn visit<S: Storage>(
    storage: &mut S,
    stretch: Range<u64>,
    mut visit: impl FnMut(Record),
) -> io::Result<Vec<Range<u64>>> {
    if stretch.is_empty() {
        return Ok(Vec::new());
    }
    let mut opened = Opened::default();
    let bases = storage.list()?;
    let mut position = stretch.start;
    for (index, &base) in bases.iter().enumerate() {
        let next = bases.get(index + 1).copied();
        if base >= stretch.end || next.is_some_and(|next| next <= stretch.start) {
            continue;
        }
        if base > position {
            opened.damaged.push(position..base);
        }
        let file = storage.open(base)?;
        let length = file.length()?;
        let bytes = file.read(0, usize::try_from(length).unwrap_or(usize::MAX))?;
        let mut within = |record: Record| -> Result<(), std::convert::Infallible> {
            if record.end <= stretch.end {
                visit(record);
            }
            Ok(())
        };
        let Ok(scan) = scan(&bytes, base, stretch.start.max(base + HEADER), next, &mut opened, &mut within);
        position = scan.end;
    }
    if position < stretch.end {
        opened.damaged.push(position..stretch.end);
    }
    opened.damaged.retain(|range| range.start < stretch.end);
    Ok(opened.damaged)
}

/// Reads one segment from position `start`. `next` is where its successor begins.
fn scan<E>(
    bytes: &[u8],
    base: u64,
    start: u64,
    next: Option<u64>,
    opened: &mut Opened,
    visit: &mut impl FnMut(Record) -> Result<(), E>,
) -> Result<Scan, E> {
    let used = base + bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at as u64 + 1);
    let mut position = start;
    loop {
        while let Some(found) = at(bytes, base, position) {
            position = found.record.end;
            opened.records += 1;
            visit(found.record)?;
        }
        if next == Some(position) {
            return Ok(Scan { end: position, used: position });
        }
        // Whatever lies behind is from the same unfinished commit, or proves that `position` was durable once.
        let mut later = position + ALIGN as u64;
        let survivor = loop {
            if later >= used {
                break None;
            }
            match at(bytes, base, later) {
                Some(found) if found.commit_start > position => break Some(later),
                _ => later += ALIGN as u64,
            }
        };
        match (survivor, next) {
            (Some(survivor), _) => {
                opened.damaged.push(position..survivor);
                position = survivor;
            }
            (None, Some(next)) => {
                opened.damaged.push(position..next);
                return Ok(Scan { end: next, used: next });
            }
            (None, None) => return Ok(Scan { end: position, used: used.max(position) }),
        }
    }
}

fn at(bytes: &[u8], base: u64, position: u64) -> Option<super::record::Read> {
    read(bytes, usize::try_from(position - base).ok()?, position)
}
