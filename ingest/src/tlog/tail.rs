//! The end of the log in memory: leaves and hashes that lie in no full tile on disk yet.

use seal::keys::Digest;
use seal::tree::node;

use super::journal::put_leaf;
use super::tile::{Kind, Tile, WIDTH};

/// Hashes of one level from number `first` on.
#[derive(Debug, Default)]
struct Level {
    first: u64,
    hashes: Vec<Digest>,
}

/// Leaves and hashes after those of the full tiles on disk.
#[derive(Debug)]
pub(super) struct Tail {
    /// Leaves in full bundles on disk.
    settled: u64,
    leaves: Vec<Box<[u8]>>,
    levels: Vec<Level>,
}

/// The root over the hashes of a tile, or of a part that is a power of two wide.
pub(super) fn fold(hashes: &[Digest]) -> Digest {
    match hashes {
        [one] => *one,
        [left, right] => node(left, right),
        all => {
            let (left, right) = all.split_at(all.len() / 2);
            node(&fold(left), &fold(right))
        }
    }
}

impl Tail {
    /// The end of a log whose first `settled` leaves, a multiple of [`WIDTH`], lie in full bundles. `upper` are the hashes of
    /// levels 1 and up that they make and that lie in no full tile.
    pub(super) fn after(settled: u64, upper: Vec<Vec<Digest>>) -> Self {
        let mut levels = vec![Level { first: settled, hashes: Vec::new() }];
        let mut count = settled;
        for hashes in upper {
            count /= WIDTH;
            levels.push(Level { first: count / WIDTH * WIDTH, hashes });
        }
        Self { settled, leaves: Vec::new(), levels }
    }

    pub(super) fn size(&self) -> u64 {
        self.settled + self.leaves.len() as u64
    }

    pub(super) fn push(&mut self, leaf: &[u8], hash: Digest) {
        self.leaves.push(leaf.into());
        self.add(0, hash);
    }

    fn add(&mut self, level: usize, hash: Digest) {
        if level == self.levels.len() {
            self.levels.push(Level::default());
        }
        let Level { first, hashes } = &mut self.levels[level];
        hashes.push(hash);
        if (*first + hashes.len() as u64).is_multiple_of(WIDTH) {
            let root = fold(&hashes[hashes.len() - WIDTH as usize..]);
            self.add(level + 1, root);
        }
    }

    /// Whether a tile is on disk.
    pub(super) fn is_settled(&self, kind: Kind, index: u64) -> bool {
        let first = match kind {
            Kind::Leaves => self.settled,
            Kind::Hashes(level) => self.levels.get(usize::from(level)).map_or(0, |level| level.first),
        };
        index < first / WIDTH
    }

    /// The content of a tile that is not on disk; `None` where there is no such tile.
    pub(super) fn tile(&self, tile: Tile) -> Option<Vec<u8>> {
        let from = tile.index.checked_mul(WIDTH)?;
        let mut bytes = Vec::new();
        match tile.kind {
            Kind::Leaves => {
                for leaf in part(&self.leaves, self.settled, from, tile.width)? {
                    put_leaf(&mut bytes, leaf);
                }
            }
            Kind::Hashes(level) => {
                let Level { first, hashes } = self.levels.get(usize::from(level))?;
                for hash in part(hashes, *first, from, tile.width)? {
                    bytes.extend_from_slice(&hash[..]);
                }
            }
        }
        Some(bytes)
    }

    /// The hash over whole subtrees next to each other: `count` of a level from number `from` on, a power of two.
    pub(super) fn subtree(&self, level: u8, from: u64, count: u64) -> Option<Digest> {
        let Level { first, hashes } = self.levels.get(usize::from(level))?;
        part(hashes, *first, from, count).map(fold)
    }

    pub(super) fn leaf(&self, index: u64) -> Option<&[u8]> {
        part(&self.leaves, self.settled, index, 1).map(|one| &*one[0])
    }

    /// Tiles that are full and not on disk.
    pub(super) fn full(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        let mut add = |kind, first: u64, count: usize| {
            let end = (first + count as u64) / WIDTH;
            tiles.extend((first / WIDTH..end).map(|index| Tile::full(kind, index)));
        };
        add(Kind::Leaves, self.settled, self.leaves.len());
        for (level, Level { first, hashes }) in (0..).zip(&self.levels) {
            add(Kind::Hashes(level), *first, hashes.len());
        }
        tiles
    }

    /// Leaves after the last full bundle, as in one.
    pub(super) fn rest(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let kept = self.leaves.len() / WIDTH as usize * WIDTH as usize;
        self.leaves[kept..].iter().for_each(|leaf| put_leaf(&mut bytes, leaf));
        bytes
    }

    /// Forgets what lies in full tiles: all of them are on disk now.
    pub(super) fn settle(&mut self) {
        self.settled = self.size() / WIDTH * WIDTH;
        let kept = self.leaves.len() % WIDTH as usize;
        self.leaves.drain(..self.leaves.len() - kept);
        for Level { first, hashes } in &mut self.levels {
            let gone = hashes.len() / WIDTH as usize * WIDTH as usize;
            hashes.drain(..gone);
            *first += gone as u64;
        }
    }
}

/// `count` items from number `from` on of those that begin with number `first`.
fn part<T>(items: &[T], first: u64, from: u64, count: u64) -> Option<&[T]> {
    let start = usize::try_from(from.checked_sub(first)?).ok()?;
    items.get(start..start.checked_add(usize::try_from(count).ok()?)?)
}
