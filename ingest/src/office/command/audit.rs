//! `ingest seal audit`: the whole log, fetched and checked leaf by leaf, and kept as files for others.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use seal::keys::Digest;
use seal::note::{Checkpoint, Note};
use seal::tree;

use super::super::audit::Audit;
use super::{SealError, failed, get, roots, say, write};
use crate::tlog::{Kind, Tile, WIDTH};

/// Progress is told each so many tiles.
const TELL_EVERY: u64 = 16;

/// The root over leaves, built from the left (RFC 9162 §2.1.2): the hashes of the full subtrees so far, by their sizes.
#[derive(Default)]
struct Roots(Vec<(u64, Digest)>);

impl Roots {
    fn push(&mut self, leaf: Digest) {
        let (mut size, mut hash) = (1, leaf);
        while self.0.last().is_some_and(|(left, _)| *left == size) {
            if let Some((_, left)) = self.0.pop() {
                hash = tree::node(&left, &hash);
                size *= 2;
            }
        }
        self.0.push((size, hash));
    }

    fn root(mut self) -> Option<Digest> {
        let (_, mut hash) = self.0.pop()?;
        while let Some((_, left)) = self.0.pop() {
            hash = tree::node(&left, &hash);
        }
        Some(hash)
    }
}

/// The entries of a bundle: two bytes of length, then the leaf. What is cut off is given as it is: nobody has logged that.
fn leaves(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>()
        && let Some((leaf, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        leaves.push(leaf);
        bytes = rest;
    }
    if !bytes.is_empty() {
        leaves.push(bytes);
    }
    leaves
}

/// Which leaf of a bundle is the first that is not there, or not the one with the hash that the log serves for it.
fn first_other(leaves: &[&[u8]], hashes: &[u8], width: u64) -> Option<usize> {
    let width = usize::try_from(width).unwrap_or(usize::MAX);
    let mut hashes = hashes.chunks(size_of::<Digest>());
    let wrong = (0..width).find(|&at| {
        let its = hashes.next().zip(leaves.get(at));
        its.is_none_or(|(hash, leaf)| hash != &tree::leaf(leaf)[..])
    });
    wrong.or((leaves.len() > width).then_some(width))
}

/// Fetches, checks, says what was found.
pub(super) fn audit(http: SocketAddr, file: Option<&Path>, output: Option<&Path>) -> Result<(), SealError> {
    let roots = roots(http, file, "audit")?;
    let text = get(http, "/tlog/checkpoint")?;
    let note =
        Note::parse(&text).ok_or_else(|| SealError::Failed("the checkpoint is no signed note".into()))?;
    let checkpoint = Checkpoint::parse(note.text)
        .ok_or_else(|| SealError::Failed("the checkpoint cannot be read".into()))?;
    let seen = roots.log.witnesses.iter().filter(|witness| note.cosigned_s(witness).is_some()).count();
    if !note.is_signed_by(&roots.log.log) || seen < roots.log.needed.max(1) {
        say(format_args!(
            "✗ 检查点没有日志签名或见证不足 the checkpoint is not signed by the log, or by {seen} witnesses only"
        ));
        return Err(SealError::DoesNotHold);
    }
    say(format_args!("检查点 checkpoint  {} 片 leaves, {seen} 个见证 witnesses", checkpoint.size));
    let keep = |name: &str, bytes: &[u8]| -> Result<(), SealError> {
        let Some(folder) = output else { return Ok(()) };
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(failed(parent.display()))?;
        write(&path, bytes)
    };
    let (mut audit, mut tree_of) = (Audit::new(roots), Roots::default());
    let fetch = |tile: Tile| -> Result<Vec<u8>, SealError> {
        let name = format!("tile/{tile}");
        let bytes = get(http, &format!("/tlog/{name}"))?;
        keep(&name, &bytes)?;
        Ok(bytes)
    };
    let mut other = None;
    let tiles = checkpoint.size.div_ceil(WIDTH);
    for index in 0..tiles {
        let width = WIDTH.min(checkpoint.size - index * WIDTH);
        let bytes = fetch(Tile { kind: Kind::Leaves, index, width })?;
        let hashes = fetch(Tile { kind: Kind::Hashes(0), index, width })?;
        let entries = leaves(&bytes);
        let here = || first_other(&entries, &hashes, width).map(|at| index * WIDTH + at as u64);
        other = other.or_else(here);
        for leaf in entries {
            tree_of.push(tree::leaf(leaf));
            audit.take(leaf);
        }
        if index % TELL_EVERY == 0 && io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r{} / {tiles}", index + 1);
        }
    }
    if output.is_some() {
        let is_above = |tile: &Tile| !matches!(tile.kind, Kind::Leaves | Kind::Hashes(0));
        for tile in crate::tlog::tiles_of(checkpoint.size).filter(is_above) {
            fetch(tile)?;
        }
        keep("checkpoint", &text)?;
    }
    if let Some(index) = other {
        say(format_args!(
            "✗ #{index} 叶子缺失或不是记入的那一片 the leaf is missing, or is not the one whose hash is in the log"
        ));
    }
    let is_whole = checkpoint.size == 0 || tree_of.root() == Some(checkpoint.root);
    if is_whole {
        say("✓ 叶子与检查点相符 the leaves make the tree that witnesses have seen");
    } else {
        say("✗ 叶子与检查点不符 the leaves do not make the tree that the checkpoint says");
    }
    let counts: Vec<String> = audit.counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    say(counts.join(", "));
    for remark in &audit.remarks {
        say(format_args!("✗ #{} {}: {} {}", remark.index, remark.seal, remark.zh, remark.en));
    }
    if is_whole && other.is_none() && audit.remarks.is_empty() {
        say("✓ 每份授权、回执都相符 every grant and every receipt agrees");
        Ok(())
    } else {
        Err(SealError::DoesNotHold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_built_from_the_left() {
        let leaf = |n: u8| tree::leaf(&[n]);
        let (ab, cd) = (tree::node(&leaf(0), &leaf(1)), tree::node(&leaf(2), &leaf(3)));
        for (count, expected) in
            [(1, leaf(0)), (2, ab), (3, tree::node(&ab, &leaf(2))), (4, tree::node(&ab, &cd))]
        {
            let mut roots = Roots::default();
            (0..count).for_each(|n| roots.push(leaf(n)));
            assert_eq!(roots.root(), Some(expected), "{count}");
        }
        assert_eq!(leaves(&[0, 1, 7, 0, 2, 8, 9]), [&[7][..], &[8, 9]]);
        assert_eq!(leaves(&[0, 1, 7, 0, 3, 7]), [&[7][..], &[0, 3, 7]], "the last one is cut off");
        assert_eq!(leaves(&[0, 1, 7, 0]), [&[7][..], &[0]]);
    }

    #[test]
    fn the_leaf_that_is_not_the_logged_one_is_named() {
        let all: [&[u8]; 3] = [&[1], &[2], &[3]];
        let hashes: Vec<u8> = all.iter().flat_map(|leaf| tree::leaf(leaf).to_vec()).collect();
        assert_eq!(first_other(&all, &hashes, 3), None);
        for (leaves, index, what) in [
            (vec![&[1][..], &[9], &[3]], 1, "altered"),
            (vec![&[1], &[3]], 1, "dropped"),
            (vec![&[1], &[2]], 2, "the last one dropped"),
            (vec![&[1], &[2], &[3], &[4]], 3, "one more"),
            (vec![], 0, "nothing"),
        ] {
            assert_eq!(first_other(&leaves, &hashes, 3), Some(index), "{what}");
        }
        assert_eq!(first_other(&all, &hashes[..64], 3), Some(2), "a hash is missing");
    }
}
