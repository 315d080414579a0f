//! What others keep in the store beside frames: a seal what it remembers, so that a use and its receipt are one write.
//!
//! A note is small, has a name, and a checksum over both: one that is damaged is as good as none, and whoever left it
//! has to see that something is missing.

use std::ops::ControlFlow;

use wire::frame::{self, MAX_FRAME_BYTES};
use wire::{GatewayId, Payload};

use super::StoreError;
use super::shelf::Shelf;
use super::store::Store;
use crate::batch::pack;

/// Keys of notes begin with this byte.
pub(super) const KEY_NOTE: u8 = 0xf3;
/// Bytes of the checksum.
const CHECKSUM: usize = 4;
/// Most bytes of one note: with its checksum no more than a frame, which is what a page of the store can take.
pub const MAX_NOTE_BYTES: usize = MAX_FRAME_BYTES - CHECKSUM;

/// The name of a note and what it says from now on; `None` when it is to be forgotten.
pub type Note = (String, Option<Vec<u8>>);

/// All notes of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Number of the store.
    pub store: u64,
    /// Each by its name, in the order of names.
    pub notes: Vec<(String, Vec<u8>)>,
}

/// Why notes were not kept, or cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The disk, or the store on it.
    #[error("the disk has not taken it: {0}")]
    Disk(String),
    /// They were to go with the notes of a store that has been set aside.
    #[error("the store was set aside and another one begun: what it remembers has to be read again")]
    OtherStore,
    /// One of them breaks a rule.
    #[error("it cannot be kept: {0}")]
    Unfit(String),
    /// The gateway ends.
    #[error("the buffer has stopped")]
    Stopped,
}

/// Whether notes and payloads can be kept at all: what is found out in the middle of a commit costs the store.
pub(super) fn check(gateway: &GatewayId, notes: &[Note], payloads: &[Payload]) -> Result<(), NotKept> {
    for (name, note) in notes {
        if let Some(bytes) = note.as_ref().map(Vec::len).filter(|&bytes| bytes > MAX_NOTE_BYTES) {
            let why = format!("note {name:?} has {bytes} bytes, at most {MAX_NOTE_BYTES} fit");
            return Err(NotKept::Unfit(why));
        }
    }
    for payload in payloads {
        pack(gateway, 1, 1, payload.clone()).map_err(|error| NotKept::Unfit(error.to_string()))?;
    }
    Ok(())
}

fn key(name: &str) -> Vec<u8> {
    [&[KEY_NOTE], name.as_bytes()].concat()
}

impl<S: Shelf> Store<S> {
    /// Stages a note for the next commit.
    pub fn note(&mut self, name: &str, note: Option<&[u8]>) {
        let key = key(name);
        let value = note.map(|note| {
            assert!(note.len() <= MAX_NOTE_BYTES, "a note over its bound would land in a blob");
            let checksum = frame::crc32c(&[&key, note].concat());
            [&checksum.to_le_bytes(), note].concat()
        });
        self.stage_note(key, value);
    }

    /// All sound notes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn notes(&self) -> Result<Notes, StoreError> {
        let mut notes = Vec::new();
        self.scan_notes(&mut |key, value| {
            let sound = value.split_at_checked(CHECKSUM).filter(|(checksum, note)| {
                **checksum == frame::crc32c(&[key, note].concat()).to_le_bytes()
            });
            match (std::str::from_utf8(&key[1..]), sound) {
                (Ok(name), Some((_, note))) => notes.push((name.to_owned(), note.to_vec())),
                _ => tracing::error!(key = %key.escape_ascii(), "a note in the store is damaged: it counts as missing"),
            }
            ControlFlow::Continue(())
        })?;
        Ok(Notes { store: self.id(), notes })
    }
}
