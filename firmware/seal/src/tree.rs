//! Merkle trees of a log: what a proof has to give (RFC 9162 §2.1).

use crate::keys::{Digest, digest};

/// Most hashes of a proof: a tree of 2^63 leaves.
pub const MAX_PATH: usize = 63;

/// The hash of a leaf.
pub fn leaf(content: &[u8]) -> Digest {
    digest(&[&[0], content])
}

/// The hash over two hashes.
pub fn node(left: &Digest, right: &Digest) -> Digest {
    digest(&[&[1], left.as_ref(), right.as_ref()])
}

/// The root that a leaf's path leads to in a tree of `size` leaves (RFC 9162 §2.1.3.2); `None` for a path that cannot be.
pub fn root_of_inclusion(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    let (mut at, mut last) = (index, size.checked_sub(1)?);
    if index > last {
        return None;
    }
    let mut root = leaf;
    for hash in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = node(hash, &root);
            // The last one of a level without a neighbour goes up as it is.
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            root = node(&root, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// Whether a tree of `size` leaves with this root only adds to one of `before` leaves (RFC 9162 §2.1.4.2). An empty tree is
/// before every other, with an empty proof.
pub fn is_consistent(before: (u64, &Digest), after: (u64, &Digest), proof: &[Digest]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (before, after);
    if old_size == 0 || old_size >= new_size {
        let is_same = old_size == new_size && old_root == new_root;
        let is_empty = old_size == 0 && *old_root == digest(&[]);
        return proof.is_empty() && (is_same || is_empty && new_size > 0);
    }
    let mut hashes = proof.iter();
    // A whole subtree is not repeated in the proof.
    let first = if old_size.is_power_of_two() { Some(old_root) } else { hashes.next() };
    let Some(first) = first else { return false };
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old, mut new) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old = node(hash, &old);
            new = node(hash, &new);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new = node(&new, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old == *old_root && new == *new_root
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// Leaves of a log of `size`.
    pub(crate) fn leaves(size: u64) -> Vec<Digest> {
        (0..size).map(|number| leaf(&number.to_be_bytes())).collect()
    }

    fn split(size: usize) -> usize {
        size.next_power_of_two() / 2
    }

    /// The root as RFC 9162 §2.1.1 defines it.
    pub(crate) fn root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => digest(&[]),
            [one] => *one,
            all => {
                let (left, right) = all.split_at(split(all.len()));
                node(&root(left), &root(right))
            }
        }
    }

    /// The path as §2.1.3.1 does.
    pub(crate) fn path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut path, other) = if index < left.len() {
            (path(index, left), root(right))
        } else {
            (self::path(index - left.len(), right), root(left))
        };
        path.push(other);
        path
    }

    /// The proof as §2.1.4.1 does.
    fn consistency(before: usize, leaves: &[Digest], is_whole: bool) -> Vec<Digest> {
        if before == leaves.len() {
            return if is_whole { Vec::new() } else { vec![root(leaves)] };
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut proof, other) = if before <= left.len() {
            (consistency(before, left, is_whole), root(right))
        } else {
            (consistency(before - left.len(), right, false), root(left))
        };
        proof.push(other);
        proof
    }

    #[test]
    fn every_leaf_leads_to_the_root_and_to_no_other() {
        for size in 1..40 {
            let leaves = leaves(size);
            let expected = root(&leaves);
            for index in 0..size {
                let path = path(index as usize, &leaves);
                let found = |index, size, path: &[Digest]| {
                    root_of_inclusion(leaves[index as usize % leaves.len()], index, size, path)
                };
                assert_eq!(found(index, size, &path), Some(expected), "{index} of {size}");
                assert_eq!(found(size, size, &path), None, "beyond the end");
                assert_ne!(
                    found(index, size, &path[..path.len().saturating_sub(1)]),
                    Some(expected).filter(|_| size > 1)
                );
                let longer = [path.as_slice(), &[expected]].concat();
                assert_eq!(found(index, size, &longer), None, "one hash too many");
                if let Some(next) = path.first() {
                    let elsewhere = root_of_inclusion(*next, index, size, &path);
                    assert_ne!(elsewhere, Some(expected), "another leaf");
                }
            }
        }
        assert_eq!(root_of_inclusion(leaf(b""), 0, 0, &[]), None);
    }

    #[test]
    fn a_longer_log_is_told_from_a_forked_one() {
        for size in 1..36_usize {
            let all = leaves(size as u64);
            for before in 0..=size {
                let proof = if before == 0 { Vec::new() } else { consistency(before, &all, true) };
                let (old, new) = (root(&all[..before]), root(&all));
                let check = |old: &Digest, new: &Digest, proof: &[Digest]| {
                    is_consistent((before as u64, old), (size as u64, new), proof)
                };
                assert!(check(&old, &new, &proof), "{before} of {size}");
                let mut forked = all.clone();
                forked[before.saturating_sub(1)] = leaf(b"another");
                if before > 0 {
                    assert!(!check(&root(&forked[..before]), &new, &proof), "forked: {before} of {size}");
                    let forged = consistency(before, &forked, true);
                    assert!(!check(&old, &root(&forked), &forged), "forged: {before} of {size}");
                }
                for at in 0..proof.len() {
                    let mut bad = proof.clone();
                    bad[at] = leaf(b"bad");
                    assert!(!check(&old, &new, &bad));
                }
                assert!(!check(&old, &new, &[proof.as_slice(), &[new]].concat()), "one hash too many");
                if before != size {
                    assert!(!is_consistent((size as u64, &new), (before as u64, &old), &proof), "it shrank");
                }
            }
        }
        let some = leaf(b"not the root of nothing");
        assert!(!is_consistent((0, &some), (1, &some), &[]));
    }
}
