//! Roots and proofs of a tree from the hashes of its whole subtrees (RFC 9162 §2.1), wherever those lie.

use seal::keys::{Digest, digest};
use seal::tree::node;

/// Hashes of whole subtrees: `bits` and `index` name the one over the leaves `index << bits` to `(index + 1) << bits`.
pub(super) trait Subtrees {
    type Error;

    fn subtree(&mut self, bits: u32, index: u64) -> Result<Digest, Self::Error>;
}

/// Where a tree of `count` leaves splits: the largest power of two below.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// The root over the leaves from `from` to `to`; `from` is where such a subtree may begin.
fn root_of<S: Subtrees>(trees: &mut S, from: u64, to: u64) -> Result<Digest, S::Error> {
    let count = to - from;
    if count.is_power_of_two() {
        let bits = count.trailing_zeros();
        return trees.subtree(bits, from >> bits);
    }
    let middle = from + split(count);
    Ok(node(&root_of(trees, from, middle)?, &root_of(trees, middle, to)?))
}

/// The root over the first `size` leaves.
pub(super) fn root<S: Subtrees>(trees: &mut S, size: u64) -> Result<Digest, S::Error> {
    if size == 0 { Ok(digest(&[])) } else { root_of(trees, 0, size) }
}

/// Hashes from leaf `index` to the root over `size` leaves (§2.1.3.1); `index` is below `size`.
pub(super) fn inclusion<S: Subtrees>(trees: &mut S, index: u64, size: u64) -> Result<Vec<Digest>, S::Error> {
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(root_of(trees, middle, to)?);
            to = middle;
        } else {
            path.push(root_of(trees, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Hashes that show that `size` leaves begin with `before` (§2.1.4.1); `before` is at most `size`.
pub(super) fn consistency<S: Subtrees>(
    trees: &mut S,
    before: u64,
    size: u64,
) -> Result<Vec<Digest>, S::Error> {
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    if before == 0 {
        return Ok(path);
    }
    while before != to {
        let middle = from + split(to - from);
        if before <= middle {
            path.push(root_of(trees, middle, to)?);
            to = middle;
        } else {
            path.push(root_of(trees, from, middle)?);
            from = middle;
        }
    }
    // Who has seen the first `before` knows their root.
    if from > 0 {
        path.push(root_of(trees, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// Roots of the whole subtrees, largest first, that a growing tree's root is made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Frontier {
    size: u64,
    roots: Vec<Digest>,
}

impl Frontier {
    /// That of the first `size` leaves.
    pub(super) fn of<S: Subtrees>(trees: &mut S, size: u64) -> Result<Self, S::Error> {
        let mut roots = Vec::new();
        for bits in (0..u64::BITS).rev().filter(|bits| size >> bits & 1 == 1) {
            roots.push(trees.subtree(bits, (size >> bits) - 1)?);
        }
        Ok(Self { size, roots })
    }

    pub(super) fn push(&mut self, leaf: Digest) {
        let mut root = leaf;
        for _ in 0..self.size.trailing_ones() {
            // As many roots as the size has ones.
            let Some(left) = self.roots.pop() else { break };
            root = node(&left, &root);
        }
        self.roots.push(root);
        self.size += 1;
    }

    pub(super) fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        let Some(&last) = roots.next() else { return digest(&[]) };
        roots.fold(last, |right, left| node(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use seal::tree::{is_consistent, leaf, root_of_inclusion};

    use super::*;

    /// Leaves in memory; a subtree is hashed each time.
    struct Leaves(Vec<Digest>);

    impl Subtrees for Leaves {
        type Error = std::convert::Infallible;

        fn subtree(&mut self, bits: u32, index: u64) -> Result<Digest, Self::Error> {
            if bits == 0 {
                return Ok(self.0[index as usize]);
            }
            Ok(node(&self.subtree(bits - 1, 2 * index)?, &self.subtree(bits - 1, 2 * index + 1)?))
        }
    }

    #[test]
    fn what_is_proved_is_what_the_verifier_takes() {
        const MOST: u64 = 70;
        let mut trees = Leaves((0..MOST).map(|number| leaf(&number.to_be_bytes())).collect());
        let mut frontier = Frontier::default();
        for size in 1..=MOST {
            frontier.push(trees.0[size as usize - 1]);
            let Ok(expected) = root(&mut trees, size);
            assert_eq!(frontier.root(), expected, "{size}");
            let Ok(same) = Frontier::of(&mut trees, size);
            assert_eq!((same.size, same.roots), (size, frontier.roots.clone()));
            for index in 0..size {
                let Ok(path) = inclusion(&mut trees, index, size);
                let found = root_of_inclusion(trees.0[index as usize], index, size, &path);
                assert_eq!(found, Some(expected), "{index} of {size}");
            }
            for before in 0..=size {
                let Ok(old) = root(&mut trees, before);
                let Ok(proof) = consistency(&mut trees, before, size);
                assert!(is_consistent((before, &old), (size, &expected), &proof), "{before} of {size}");
            }
        }
        assert_eq!(Frontier::default().root(), digest(&[]), "of nothing");
    }
}
