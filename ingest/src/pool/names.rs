//! The names of sensors, one behind the other in memory. Many boxes use the same names, so most lie there once.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Bytes of a chunk. Growing never moves what is there; a test fills several.
pub(super) const CHUNK_BYTES: usize = if cfg!(test) { 64 } else { 64 * 1024 };
/// Names of a city remembered for repeats, 4 MiB of them: boxes of 226 quantities and 4,000 sensors, which are numbered on
/// each, have half a million different ones. Serial numbers do not repeat, so a table of all names would take more than
/// it saves. A name that was forgotten lies there again, at most once a sensor.
const RECENT: usize = if cfg!(test) { WAYS } else { 1 << 20 };
/// Names that share a slot, which their hash gives: the newest comes first, the oldest is forgotten.
const WAYS: usize = 4;
/// No name begins here: it would leave the chunk.
const NOTHING: u32 = u32::MAX;

/// Names to look at, from another thread too. A name is known by where its length byte lies.
#[derive(Debug, Clone, Default)]
pub struct Texts(Vec<Arc<[u8]>>);

impl Texts {
    /// The name at `at`; empty where there is none.
    pub fn bytes(&self, at: u32) -> &[u8] {
        let at = at as usize;
        let chunk: &[u8] = self.0.get(at / CHUNK_BYTES).map_or(&[], |chunk| chunk);
        match chunk.get(at % CHUNK_BYTES..) {
            Some([length, rest @ ..]) => rest.get(..usize::from(*length)).unwrap_or(&[]),
            _ => &[],
        }
    }
}

/// All names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    chunks: Texts,
    /// Bytes taken of the last chunk.
    used: usize,
    recent: Vec<u32>,
    hasher: RandomState,
}

impl Default for Names {
    fn default() -> Self {
        Self::remembering(RECENT)
    }
}

impl Names {
    /// Names of which so many are remembered for repeats, whole slots of [`WAYS`].
    pub(crate) fn remembering(recent: usize) -> Self {
        let (chunks, hasher) = (Texts::default(), RandomState::default());
        let recent = vec![NOTHING; recent.next_multiple_of(WAYS).max(WAYS)];
        Self { chunks, used: CHUNK_BYTES, recent, hasher }
    }

    /// Where the slot of a name begins.
    fn slot(&self, text: &[u8]) -> usize {
        self.hasher.hash_one(text) as usize % (self.recent.len() / WAYS) * WAYS
    }

    fn remember(&mut self, slot: usize, at: u32) {
        let ways = &mut self.recent[slot..][..WAYS];
        ways.rotate_right(1);
        ways[0] = at;
    }

    /// Where `name` lies, put there if need be; `None` when 4 GiB of names are full.
    pub(crate) fn place(&mut self, name: &str) -> Option<u32> {
        let text = name.as_bytes();
        let slot = self.slot(text);
        let mut recent = self.recent[slot..][..WAYS].iter().copied();
        if let Some(before) = recent.find(|&before| before != NOTHING && self.bytes(before) == text) {
            return Some(before);
        }
        let length = u8::try_from(text.len()).ok()?;
        if self.used + 1 + text.len() > CHUNK_BYTES {
            u32::try_from((self.chunks.0.len() + 1) * CHUNK_BYTES).ok()?;
            self.chunks.0.push(vec![0; CHUNK_BYTES].into());
            self.used = 0;
        }
        let at = u32::try_from((self.chunks.0.len() - 1) * CHUNK_BYTES + self.used).ok()?;
        // Copied once more after each time that it was shared.
        let chunk = Arc::make_mut(self.chunks.0.last_mut()?);
        chunk[self.used] = length;
        chunk[self.used + 1..][..text.len()].copy_from_slice(text);
        self.used += 1 + text.len();
        self.remember(slot, at);
        Some(at)
    }

    /// The name at `at`; empty where there is none.
    pub(super) fn bytes(&self, at: u32) -> &[u8] {
        self.chunks.bytes(at)
    }

    /// All names of now, to look at.
    pub(crate) fn texts(&self) -> &Texts {
        &self.chunks
    }

    /// The same as text.
    pub(super) fn get(&self, at: u32) -> &str {
        std::str::from_utf8(self.bytes(at)).unwrap_or_default()
    }

    /// Bytes taken, the unused ends of chunks included.
    pub(super) fn bytes_used(&self) -> usize {
        (self.chunks.0.len() * CHUNK_BYTES + self.used) - CHUNK_BYTES
    }

    /// One chunk.
    pub(super) fn chunk(&self, number: usize) -> &[u8] {
        self.chunks.0.get(number).map_or(&[], |chunk| chunk)
    }

    /// Puts the next chunk back, of names that take `bytes_used` in all; `None` when it is none.
    pub(super) fn put_back(&mut self, chunk: &[u8], bytes_used: usize) -> Option<()> {
        if chunk.len() != CHUNK_BYTES {
            return None;
        }
        let start = self.chunks.0.len() * CHUNK_BYTES;
        self.used = (bytes_used - start).min(CHUNK_BYTES);
        self.chunks.0.push(chunk.into());
        // New boxes will say the same names.
        let mut at = 0;
        while let Some(&length @ 1..) = chunk[..self.used].get(at) {
            let place = u32::try_from(start + at).ok()?;
            let slot = self.slot(self.bytes(place));
            self.remember(slot, place);
            at += 1 + usize::from(length);
        }
        Some(())
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.0.len() * CHUNK_BYTES
            + self.chunks.0.capacity() * size_of::<Arc<[u8]>>()
            + self.recent.len() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lies_there_once_and_comes_back() {
        let mut names = Names::default();
        let texts: Vec<String> = (0..40).map(|n| format!("station-{n}.level")).collect();
        let mut place = |text: &str| names.place(text).unwrap();
        let places: Vec<u32> = texts.iter().map(|text| place(text)).collect();
        assert_eq!(place(&texts[39]), places[39], "the newest is still in its slot");
        let longest = "x".repeat(wire::ids::MAX_SENSOR_NAME);
        let last = place(&longest);
        assert!(names.chunks.0.len() > 10, "in several chunks");
        for (text, &at) in texts.iter().zip(&places) {
            assert_eq!(names.get(at), text);
        }
        assert_eq!(names.get(last), longest);
        assert_eq!(names.get(last + 10_000), "", "nothing lies there");
    }

    #[test]
    fn boxes_with_the_same_names_share_them() {
        let mut names = Names::default();
        // A test has one slot: as many as it remembers, in turn, and none is forgotten.
        let texts = ["a.1", "a.2", "b.1", "b.2"];
        let places = |names: &mut Names| texts.map(|text| names.place(text).unwrap());
        let first = places(&mut names);
        assert_eq!((places(&mut names), places(&mut names)), (first, first));
        // After a start too.
        let mut again = Names::default();
        (0..names.chunks.0.len()).for_each(|n| again.put_back(names.chunk(n), names.bytes_used()).unwrap());
        assert_eq!(places(&mut again), first);
        // One more, and the oldest is forgotten.
        again.place("c.1").unwrap();
        assert_ne!(again.place(texts[0]), Some(first[0]));
    }

    #[test]
    fn who_looks_sees_the_names_of_then() {
        let mut names = Names::default();
        let first = names.place("first").unwrap();
        let texts = names.texts().clone();
        let second = names.place("second").unwrap();
        assert_eq!((texts.bytes(first), texts.bytes(second)), (&b"first"[..], &b""[..]));
        assert_eq!((names.get(first), names.get(second)), ("first", "second"));
    }
}
