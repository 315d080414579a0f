//! What a seal remembers over a power cut: notes in the buffer's store.
//!
//! ```text
//! seal/memory/0 …      the memory in CBOR, in parts: how many there are, then the part
//! seal/policy          the rules as they were presented
//! seal/grant/{id}      a grant as it was presented
//! seal/deputy/{id}     a delegation as it was presented
//! ```
//! A store that was damaged and set aside takes all of it along: the seal remembers nothing, its counter shows more, and
//! nothing moves until the authority has answered.

use ::seal::memory::Memory;
use wire::Payload;

use super::grants::Held;
use super::hex;
use crate::buffer::{Buffer, NotKept, Note, Notes};

const PREFIX: &str = "seal/";
const MEMORY: &str = "seal/memory/";
const POLICY: &str = "seal/policy";
const GRANT: &str = "seal/grant/";
const DEPUTY: &str = "seal/deputy/";
/// Bytes of one part of the memory: a thousand revocations take two.
const PART_BYTES: usize = 16 * 1024;
/// Most parts: of the largest memory, and some.
const MAX_PARTS: usize = 8;

/// What lies in the journal.
#[derive(Debug, Default)]
pub struct State {
    /// The sum of all entries; empty when there is none.
    pub memory: Memory,
    /// The rules as they were presented.
    pub policy: Option<Vec<u8>>,
    /// Grants.
    pub grants: Vec<Held>,
    /// Delegations as they were presented, each with the name of its note.
    pub delegations: Vec<(String, Vec<u8>)>,
}

/// Where it lies. Each write is one: all of it is durable when it returns, or nobody knows and it is read again.
pub trait Journal: Send {
    /// What there is.
    ///
    /// # Errors
    /// [`NotKept`].
    fn read(&mut self) -> Result<State, NotKept>;

    /// Writes notes, and frames with them.
    ///
    /// # Errors
    /// [`NotKept`]. Nothing may be written after that before it was read again.
    fn write(&mut self, notes: Vec<Note>, payloads: Vec<Payload>) -> Result<(), NotKept>;
}

/// The journal in the buffer of the gateway.
#[derive(Debug)]
pub struct BufferJournal {
    buffer: Buffer,
    /// The store that was read last: nothing is added to another.
    store: Option<u64>,
}

impl BufferJournal {
    /// The journal in this buffer.
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, store: None }
    }
}

impl Journal for BufferJournal {
    fn read(&mut self) -> Result<State, NotKept> {
        let notes = self.buffer.recall_blocking()?;
        self.store = Some(notes.store);
        Ok(state(notes))
    }

    fn write(&mut self, notes: Vec<Note>, payloads: Vec<Payload>) -> Result<(), NotKept> {
        let store = self.store.ok_or(NotKept::OtherStore)?;
        let written = self.buffer.journal_blocking(store, notes, payloads);
        if written.is_err() {
            self.store = None;
        }
        written
    }
}

/// Whether a note is of a seal.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The notes of a memory.
pub fn memory_notes(memory: &Memory) -> Vec<Note> {
    // Writing into memory has no way to fail.
    let bytes = minicbor::to_vec(memory).unwrap_or_default();
    let count = bytes.len().div_ceil(PART_BYTES);
    let part = |(at, part): (usize, &[u8])| (format!("{MEMORY}{at}"), Some([&[count as u8], part].concat()));
    let parts = bytes.chunks(PART_BYTES).enumerate().map(part);
    // It may have shrunk.
    let gone = (count..MAX_PARTS).take(1).map(|at| (format!("{MEMORY}{at}"), None));
    parts.chain(gone).collect()
}

/// The note of rules.
pub fn policy_note(presented: Vec<u8>) -> Note {
    (POLICY.into(), Some(presented))
}

/// The note of a grant; without its bytes it is forgotten.
pub fn grant_note(id: &::seal::grant::Id, presented: Option<Vec<u8>>) -> Note {
    (format!("{GRANT}{}", hex(&id[..])), presented)
}

/// The note of a delegation; without its bytes it is forgotten.
pub fn delegation_note(id: &::seal::grant::Id, presented: Option<Vec<u8>>) -> Note {
    (format!("{DEPUTY}{}", hex(&id[..])), presented)
}

/// What notes say. What cannot be read is as if it was not there.
pub fn state(notes: Notes) -> State {
    let mut state = State::default();
    let mut memory: Vec<(usize, Vec<u8>)> = Vec::new();
    for (name, bytes) in notes.notes {
        if let Some(at) = name.strip_prefix(MEMORY) {
            memory.extend(at.parse().ok().map(|at: usize| (at, bytes)));
        } else if name == POLICY {
            state.policy = Some(bytes);
        } else if name.starts_with(GRANT) {
            state.grants.extend(Held::read(bytes));
        } else if name.starts_with(DEPUTY) {
            state.delegations.push((name, bytes));
        }
    }
    if !memory.is_empty() {
        match whole(memory) {
            Some(memory) => state.memory = memory,
            None => tracing::error!(
                "印章记录损坏，须联网核对 what the seal remembers is damaged: it waits for the authority"
            ),
        }
    }
    state
}

fn whole(mut parts: Vec<(usize, Vec<u8>)>) -> Option<Memory> {
    parts.sort_unstable_by_key(|(at, _)| *at);
    let count = usize::from(*parts.first()?.1.first()?);
    let is_whole = parts.len() == count
        && parts
            .iter()
            .enumerate()
            .all(|(at, (number, part))| at == *number && part.first() == Some(&(count as u8)));
    let bytes: Vec<u8> =
        parts.iter().flat_map(|(_, part)| part.get(1..).unwrap_or_default()).copied().collect();
    let mut decoder = minicbor::Decoder::new(&bytes);
    let memory: Memory = decoder.decode().ok().filter(|_| is_whole)?;
    (decoder.position() == bytes.len()).then_some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::seal::memory::MAX_REVOKED;

    fn open(folder: &tempfile::TempDir) -> crate::buffer::Opened {
        let gateway = wire::GatewayId::new("gw").unwrap();
        crate::buffer::open(folder.path(), &gateway, 1 << 30, || crate::testing::stamp(77)).unwrap()
    }

    fn close(opened: crate::buffer::Opened) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(opened.buffer.stop());
        opened.thread.join().unwrap();
    }

    #[test]
    fn the_buffer_remembers_and_one_that_is_begun_anew_remembers_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&folder);
        let mut journal = BufferJournal::new(opened.buffer.clone());
        assert_eq!(journal.write(Vec::new(), Vec::new()), Err(NotKept::OtherStore), "nothing was read yet");
        assert_eq!(journal.read().unwrap().memory, Memory::default());
        let mut notes = memory_notes(&large());
        notes.push(policy_note(b"rules".to_vec()));
        journal.write(notes, Vec::new()).unwrap();
        close(opened);

        let opened = open(&folder);
        let mut journal = BufferJournal::new(opened.buffer.clone());
        let state = journal.read().unwrap();
        assert_eq!((state.memory, state.policy.as_deref()), (large(), Some(&b"rules"[..])));
        // One that is smaller leaves nothing of it behind.
        let small = Memory { counter: 8, ..Memory::default() };
        journal.write(memory_notes(&small), Vec::new()).unwrap();
        assert_eq!(journal.read().unwrap().memory, small);
        close(opened);

        std::fs::remove_dir_all(folder.path().join("buffer")).unwrap();
        let opened = open(&folder);
        let mut journal = BufferJournal { buffer: opened.buffer.clone(), store: journal.store };
        assert_eq!(journal.write(memory_notes(&small), Vec::new()), Err(NotKept::OtherStore));
        assert_eq!(journal.read().unwrap().memory, Memory::default());
        close(opened);
    }

    fn kept(notes: Vec<Note>) -> Notes {
        let notes = notes.into_iter().filter_map(|(name, note)| Some((name, note?))).collect();
        Notes { store: 1, notes }
    }

    /// As large as it gets.
    fn large() -> Memory {
        let mut memory = Memory { counter: 7, ..Memory::default() };
        memory.revoked = (0..MAX_REVOKED).map(|n| ([n as u8; 16].into(), u64::MAX - n as u64)).collect();
        memory
    }

    #[test]
    fn a_memory_comes_back_however_large() {
        for memory in [Memory::default(), large()] {
            let notes = memory_notes(&memory);
            assert!(
                notes
                    .iter()
                    .all(|(_, note)| note.as_ref().is_none_or(|n| n.len() < crate::buffer::MAX_NOTE_BYTES))
            );
            assert!(notes.len() < MAX_PARTS, "{}", notes.len());
            assert_eq!(state(kept(notes)).memory, memory);
        }
        assert_eq!(state(Notes::default()).memory, Memory::default());
    }

    #[test]
    fn a_memory_with_a_part_missing_is_none() {
        let notes = kept(memory_notes(&large()));
        for gone in 0..notes.notes.len() {
            let mut notes = notes.clone();
            notes.notes.remove(gone);
            assert_eq!(state(notes).memory, Memory::default(), "without part {gone}");
        }
        let mut mixed = notes;
        mixed.notes[0] = ("seal/memory/0".into(), memory_notes(&Memory::default())[0].1.clone().unwrap());
        assert_eq!(state(mixed).memory, Memory::default(), "parts of two memories");
    }
}
