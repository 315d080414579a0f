//! The table of sensors as pages, of which a checkpoint writes only those that changed.
//!
//! What seldom changes (whose, where, which quantity) and the names are written as soon as they change. Newest readings
//! change all the time: in a city that reports every minute, all pages of them every minute. So a checkpoint writes
//! the next few in turn, as many as the log grew for, and says from which position of the log on readings may be
//! missing. A start reads the log from there, which is bounded by [`ROUND_BYTES`]; a reading taken twice is taken
//! once, because the newest by time stays.
//!
//! ```text
//! kind     one row, little-endian                                                                            bytes
//! Fixed    gateway u32, name u32, latitude and longitude i32 (1e-7 degrees), quantity u16, area u16             20
//! Newest   time i64 (ms since 1970), value f64, grade u8 (128 there, 64 value, 4 quality, 1 clock)              17
//! Names    [`super::names`] as they lie in memory
//! ```

use wire::{Area, GatewayId, QuantityCode};

use super::names::CHUNK_BYTES;
use super::newest::Newest;
use super::sensors::{Fixed, Sensors};

/// Rows of a page: 80 kB and 68 kB, so that both begin where a block of a disk does. A test fills several.
pub const PAGE_ROWS: usize = if cfg!(test) { 4 } else { 4096 };
/// How far the log grows while every page of newest readings is written once, in bytes: what a start has to read
/// again at most, some seconds' work.
const ROUND_BYTES: u64 = if cfg!(test) { 16 * 1024 } else { 256 << 20 };
/// Pages of newest readings that a checkpoint may always write: a small city never has to read the log again.
const MIN_PAGES: usize = if cfg!(test) { 1 } else { 16 };

const FIXED_BYTES: usize = 20;
const NEWEST_BYTES: usize = 17;

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// What seldom changes of sensors.
    Fixed,
    /// Their newest readings.
    Newest,
    /// Their names.
    Names,
}

impl PageKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fixed, Self::Newest, Self::Names];

    /// The word, for file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Newest => "newest",
            Self::Names => "names",
        }
    }

    /// Most bytes of a page.
    pub fn max_bytes(self) -> usize {
        match self {
            Self::Fixed => PAGE_ROWS * FIXED_BYTES,
            Self::Newest => PAGE_ROWS * NEWEST_BYTES,
            Self::Names => CHUNK_BYTES,
        }
    }
}

/// A page that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it holds.
    pub kind: PageKind,
    /// Which one of its kind.
    pub number: u32,
    /// As on disk.
    pub bytes: Vec<u8>,
}

/// What of the table is not in the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(super) struct Outline {
    rows: u32,
    /// Bytes of names, the unused ends of chunks included.
    names: u64,
    /// Gateways by number, with the fingerprint of their last announcement.
    owners: Vec<(GatewayId, u64)>,
    former_areas: Vec<(u32, Vec<u16>)>,
}

/// Which pages changed since they were written.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    fixed: Vec<bool>,
    /// From which position of the log on readings are missing in a written page.
    newest: Vec<Option<u64>>,
    names: usize,
    /// Where the log stood at the last cut.
    position: u64,
    /// Whose turn it is.
    turn: usize,
    /// Whether no page was ever written, though the log does not hold all readings any more.
    all: bool,
}

impl Marks {
    pub(super) fn fixed(&mut self, row: usize) {
        let page = row / PAGE_ROWS;
        if page >= self.fixed.len() {
            self.fixed.resize(page + 1, false);
            self.newest.resize(page + 1, None);
        }
        self.fixed[page] = true;
    }

    pub(super) fn newest(&mut self, row: usize) {
        if let Some(from) = self.newest.get_mut(row / PAGE_ROWS) {
            from.get_or_insert(self.position);
        }
    }

    /// The table came from a checkpoint without pages.
    pub(super) fn write_all(&mut self) {
        self.all = true;
    }

    /// The next pages of newest readings that are to be written, the log being at `position`.
    fn turns(&mut self, position: u64) -> Vec<usize> {
        let all = self.newest.len();
        let grown = u128::from(position.saturating_sub(self.position));
        let due = (all as u128 * grown).div_ceil(u128::from(ROUND_BYTES));
        let due = usize::try_from(due).unwrap_or(all).max(MIN_PAGES);
        let due = if std::mem::take(&mut self.all) { all } else { due };
        let in_turn = (0..all).map(|step| (self.turn + step) % all);
        let pages: Vec<usize> = in_turn.filter(|&page| self.newest[page].is_some()).take(due).collect();
        self.turn = pages.last().map_or(self.turn, |last| last + 1);
        pages
    }
}

impl Sensors {
    /// The pages that a checkpoint at `position` has to write, and the position from which on the log holds readings
    /// that are in none. They count as written from now on.
    pub fn take_pages(&mut self, position: u64) -> (Vec<Page>, u64) {
        let mut pages = Vec::new();
        let mut add = |kind, number: usize, bytes| pages.push(Page { kind, number: number as u32, bytes });
        for number in 0..self.marks.fixed.len() {
            if std::mem::take(&mut self.marks.fixed[number]) {
                let first = number * PAGE_ROWS;
                let rows = self.holders.from(first as u32).zip(self.fixed.from(first).take(PAGE_ROWS));
                add(PageKind::Fixed, number, page_of(rows.map(|(owner, row)| row.bytes(owner))));
            }
        }
        for number in self.marks.turns(position) {
            self.marks.newest[number] = None;
            let rows = self.newest.from(number * PAGE_ROWS).take(PAGE_ROWS);
            add(PageKind::Newest, number, page_of(rows.map(|&newest| newest_bytes(newest))));
        }
        let used = self.names.bytes_used();
        if used != self.marks.names {
            for number in self.marks.names / CHUNK_BYTES..used.div_ceil(CHUNK_BYTES) {
                add(PageKind::Names, number, self.names.chunk(number).to_vec());
            }
        }
        self.marks.names = used;
        self.marks.position = position;
        let missing_from = self.marks.newest.iter().flatten().min().copied().unwrap_or(position);
        (pages, missing_from)
    }

    /// What of the table is not in the pages.
    pub(super) fn outline(&self) -> Outline {
        Outline {
            rows: self.len() as u32,
            names: self.names.bytes_used() as u64,
            owners: self.owners().map(|(id, announced)| (id.clone(), announced)).collect(),
            former_areas: {
                let mut all: Vec<_> =
                    self.area_parts().1.iter().map(|(&n, areas)| (n, areas.clone())).collect();
                all.sort_unstable();
                all
            },
        }
    }

    /// The table again; `None` when the pages, which `read` gives, do not fit together. A page of newest readings that
    /// was never written is empty. Readings from position `missing_from` of the log on will be taken again.
    pub(super) fn from_pages(
        outline: Outline,
        areas: &[Area],
        missing_from: u64,
        mut read: impl FnMut(PageKind, u32) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let mut sensors = Self::default();
        for area in areas {
            sensors.area_number(area);
        }
        for (owner, announced) in &outline.owners {
            let owner = sensors.owner(owner);
            sensors.announced(owner, *announced);
        }
        let rows = outline.rows as usize;
        for number in 0..usize::try_from(outline.names).ok()?.div_ceil(CHUNK_BYTES) {
            sensors.names.put_back(&read(PageKind::Names, number as u32)?, outline.names as usize)?;
        }
        for number in 0..rows.div_ceil(PAGE_ROWS) {
            let fixed = read(PageKind::Fixed, number as u32)?;
            let newest = read(PageKind::Newest, number as u32)?;
            let mut newest = newest.chunks_exact(NEWEST_BYTES);
            let expected = (rows - number * PAGE_ROWS).min(PAGE_ROWS);
            if fixed.len() < expected * FIXED_BYTES {
                return None;
            }
            for row in fixed.chunks_exact(FIXED_BYTES).take(expected) {
                let newest = match newest.next() {
                    Some(newest) => newest_of(newest)?,
                    None => Newest::NONE,
                };
                let (owner, row) = Fixed::of(row)?;
                sensors.put_back_row(owner, row, newest)?;
            }
        }
        sensors.put_back_former(outline.former_areas);
        sensors.marks = Marks {
            fixed: vec![false; rows.div_ceil(PAGE_ROWS)],
            newest: vec![None; rows.div_ceil(PAGE_ROWS)],
            names: outline.names as usize,
            position: missing_from,
            turn: 0,
            all: false,
        };
        Some(sensors)
    }
}

fn page_of<const N: usize>(rows: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAGE_ROWS * N);
    rows.for_each(|row| bytes.extend_from_slice(&row));
    bytes
}

fn newest_bytes(newest: Newest) -> [u8; NEWEST_BYTES] {
    let (at_ms, value, grade) = newest.parts();
    let mut bytes = [0; NEWEST_BYTES];
    bytes[..8].copy_from_slice(&at_ms.to_le_bytes());
    bytes[8..16].copy_from_slice(&value.to_le_bytes());
    bytes[16] = grade;
    bytes
}

fn newest_of(bytes: &[u8]) -> Option<Newest> {
    let (at_ms, rest) = bytes.split_first_chunk::<8>()?;
    let (value, rest) = rest.split_first_chunk::<8>()?;
    Some(Newest::from_parts(i64::from_le_bytes(*at_ms), f64::from_le_bytes(*value), *rest.first()?))
}

impl Fixed {
    fn bytes(&self, owner: u32) -> [u8; FIXED_BYTES] {
        let mut bytes = [0; FIXED_BYTES];
        bytes[..4].copy_from_slice(&owner.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.name.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.lat_e7.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.lon_e7.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.quantity.0.to_le_bytes());
        bytes[18..].copy_from_slice(&self.area.to_le_bytes());
        bytes
    }

    /// The number of the gateway, and the row.
    fn of(bytes: &[u8]) -> Option<(u32, Self)> {
        let (owner, rest) = bytes.split_first_chunk()?;
        let (name, rest) = rest.split_first_chunk()?;
        let (lat, rest) = rest.split_first_chunk()?;
        let (lon, rest) = rest.split_first_chunk()?;
        let (quantity, rest) = rest.split_first_chunk()?;
        let (area, _) = rest.split_first_chunk()?;
        let row = Self {
            name: u32::from_le_bytes(*name),
            lat_e7: i32::from_le_bytes(*lat),
            lon_e7: i32::from_le_bytes(*lon),
            quantity: QuantityCode(u16::from_le_bytes(*quantity)),
            area: u16::from_le_bytes(*area),
        };
        Some((u32::from_le_bytes(*owner), row))
    }
}
