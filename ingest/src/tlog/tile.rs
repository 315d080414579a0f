//! Names of tiles (C2SP tlog-tiles): `0/x001/x234/067.p/9` is nine hashes of the leaves from 1234067 × 256 on.

use std::fmt;

/// Hashes of a full tile, and leaves of a full bundle.
pub const WIDTH: u64 = 256;
/// log2 of [`WIDTH`].
pub(super) const BITS: u32 = 8;
/// Levels that a tree of 2^63 leaves has.
pub(super) const LEVELS: u8 = 8;

/// What a tile is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Leaves, each behind its length.
    Leaves,
    /// Hashes of whole subtrees of 256^level leaves.
    Hashes(u8),
}

/// A tile, or the first part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// What it is made of.
    pub kind: Kind,
    /// Which one of its level.
    pub index: u64,
    /// How many, 1 to 256.
    pub width: u64,
}

impl Tile {
    /// A full one.
    pub fn full(kind: Kind, index: u64) -> Self {
        Self { kind, index, width: WIDTH }
    }

    /// Reads the name below `tile/` in its one spelling.
    pub fn parse(name: &str) -> Option<Self> {
        let (level, rest) = name.split_once('/')?;
        let kind = match level {
            "entries" => Kind::Leaves,
            level => Kind::Hashes(level.parse().ok().filter(|&level| level < LEVELS)?),
        };
        let (numbers, width) = match rest.split_once(".p/") {
            Some((numbers, width)) => (numbers, width.parse().ok().filter(|&width| width < WIDTH)?),
            None => (rest, WIDTH),
        };
        let mut index = 0_u64;
        for part in numbers.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part).parse::<u16>().ok()?;
            index = index.checked_mul(1000)?.checked_add(digits.into())?;
        }
        let tile = Self { kind, index, width };
        (width > 0 && tile.to_string() == name).then_some(tile)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Leaves => f.write_str("entries/")?,
            Kind::Hashes(level) => write!(f, "{level}/")?,
        }
        let mut shift = 1;
        while self.index / shift >= 1000 {
            shift *= 1000;
        }
        while shift > 1 {
            write!(f, "x{:03}/", self.index / shift % 1000)?;
            shift /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width < WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for (kind, index, width, name) in [
            (Kind::Hashes(0), 0, 256, "0/000"),
            (Kind::Hashes(0), 67, 1, "0/067.p/1"),
            (Kind::Hashes(1), 1_234_067, 256, "1/x001/x234/067"),
            (Kind::Hashes(7), 999, 255, "7/999.p/255"),
            (Kind::Leaves, 1000, 256, "entries/x001/000"),
            (Kind::Leaves, 273, 112, "entries/273.p/112"),
            (Kind::Leaves, u64::MAX, 256, "entries/x018/x446/x744/x073/x709/x551/615"),
        ] {
            let tile = Tile { kind, index, width };
            assert_eq!(tile.to_string(), name);
            assert_eq!(Tile::parse(name), Some(tile));
        }
        for name in [
            "0",
            "0/",
            "0/0",
            "0/0000",
            "0/x000/000",
            "0/001/000",
            "0/x001",
            "00/000",
            "8/000",
            "-1/000",
            "0/+01",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/000.p/1/",
            "0/../000",
            "data/000",
            "Entries/000",
            "0/x018/x446/x744/x073/x709/x551/616",
        ] {
            assert_eq!(Tile::parse(name), None, "{name}");
        }
    }
}
