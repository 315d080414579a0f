//! The log of seals: names of tiles, what a stranger sends to a witness, and a damaged journal. The first byte says which.
#![no_main]
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use ingest::tlog::keyfile::NamedKey;
use ingest::tlog::{Storage, Tile, Tlog};
use ingest::witness::{Submission, Verdict, Witness};
use libfuzzer_sys::fuzz_target;
use seal::keys::{MemoryKey, Signer as _};
use seal::note::NoteKey;

const LEAVES: [&[u8]; 4] = [b"first", b"", b"a third", b"last"];

/// Files in memory, shared so that the test can reach in.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Storage for Memory {
    type Lock = ();
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().expect("no panic while held").get(name).cloned())
    }
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut all = self.0.lock().expect("no panic while held");
        let file = all.entry(name.into()).or_default();
        let at = offset as usize;
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn clear(&self, name: &str) -> io::Result<()> {
        self.0.lock().expect("no panic while held").remove(name);
        Ok(())
    }
    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut all = self.0.lock().expect("no panic while held");
        let file = all.remove(from).ok_or(io::ErrorKind::NotFound)?;
        all.insert(to.into(), file);
        Ok(())
    }
    fn make_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

fn key() -> MemoryKey {
    MemoryKey::from_secret(&[1; 32])
}

fn open(memory: Memory) -> Option<Tlog<Memory>> {
    Tlog::open(memory, "log", Box::new(key())).ok()
}

fn submission(body: &[u8]) {
    if let Some(read) = Submission::parse(body) {
        assert_eq!(read.text().as_bytes(), body, "one spelling");
    }
    let public = NoteKey { name: "log".into(), key: key().public() };
    let named = NamedKey { public: public.clone(), signer: key() };
    let Ok(mut witness) = Witness::open(Memory::default(), named, vec![public]) else { return };
    // The one who signs for the log is not here.
    assert!(!matches!(witness.add_checkpoint(body, 1), Verdict::Cosigned(_)));
}

fn journal(edits: &[u8]) {
    let memory = Memory::default();
    let Some(mut log) = open(memory.clone()) else { return };
    for leaf in LEAVES {
        let _ = log.append(&[leaf]);
    }
    drop(log);
    // Edits: where (two bytes), what (one byte).
    for edit in edits.chunks_exact(3).take(64) {
        let at = usize::from(edit[0]) | usize::from(edit[1] & 7) << 8;
        if let Some(byte) = memory.0.lock().expect("no panic while held").get_mut("journal").and_then(|file| file.get_mut(at)) {
            *byte ^= edit[2];
        }
    }
    let Some(log) = open(memory) else { return };
    let tiles = log.tiles();
    for (index, leaf) in LEAVES.iter().enumerate().take(tiles.size() as usize) {
        assert_eq!(tiles.leaf(index as u64).ok().as_deref(), Some(*leaf), "a leaf that nobody wrote");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => {
            if let Some((name, tile)) = std::str::from_utf8(rest).ok().and_then(|name| Some((name, Tile::parse(name)?))) {
                assert_eq!(tile.to_string(), name, "one spelling");
            }
        }
        1 => submission(rest),
        _ => journal(rest),
    }
});
