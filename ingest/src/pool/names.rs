//! The names of sensors, one behind the other in memory. Many boxes use the same names, so most lie there once.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use wire::SensorName;

/// Bytes of a chunk. Growing never moves what is there; a test fills several.
pub(super) const CHUNK_BYTES: usize = if cfg!(test) { 64 } else { 64 * 1024 };
/// Names remembered for repeats, each in the slot its hash gives: a city has some thousands of different ones, unless
/// they are serial numbers, which do not repeat. A name that was pushed out of its slot lies there twice, no more.
const RECENT: usize = 1 << 14;
/// No name begins here: it would leave the chunk.
const NOTHING: u32 = u32::MAX;

/// All names. A name is known by where its length byte lies.
#[derive(Debug, Clone)]
pub(super) struct Names {
    chunks: Vec<Box<[u8]>>,
    /// Bytes taken of the last chunk.
    used: usize,
    recent: Vec<u32>,
}

impl Default for Names {
    fn default() -> Self {
        Self { chunks: Vec::new(), used: CHUNK_BYTES, recent: vec![NOTHING; RECENT] }
    }
}

impl Names {
    /// Where `name` lies, put there if need be; `None` when 4 GiB of names are full.
    pub(super) fn place(&mut self, name: &SensorName, hasher: &RandomState) -> Option<u32> {
        let text = name.as_str().as_bytes();
        let slot = hasher.hash_one(text) as usize % RECENT;
        let before = self.recent[slot];
        if before != NOTHING && self.bytes(before) == text {
            return Some(before);
        }
        let length = u8::try_from(text.len()).ok()?;
        if self.used + 1 + text.len() > CHUNK_BYTES {
            u32::try_from((self.chunks.len() + 1) * CHUNK_BYTES).ok()?;
            self.chunks.push(vec![0; CHUNK_BYTES].into());
            self.used = 0;
        }
        let at = u32::try_from((self.chunks.len() - 1) * CHUNK_BYTES + self.used).ok()?;
        let chunk = self.chunks.last_mut()?;
        chunk[self.used] = length;
        chunk[self.used + 1..][..text.len()].copy_from_slice(text);
        self.used += 1 + text.len();
        self.recent[slot] = at;
        Some(at)
    }

    /// The name at `at`; empty where there is none.
    pub(super) fn bytes(&self, at: u32) -> &[u8] {
        let at = at as usize;
        let chunk: &[u8] = self.chunks.get(at / CHUNK_BYTES).map_or(&[], |chunk| chunk);
        match chunk.get(at % CHUNK_BYTES..) {
            Some([length, rest @ ..]) => rest.get(..usize::from(*length)).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// The same as text.
    pub(super) fn get(&self, at: u32) -> &str {
        std::str::from_utf8(self.bytes(at)).unwrap_or_default()
    }

    /// Bytes taken, the unused ends of chunks included.
    pub(super) fn bytes_used(&self) -> usize {
        (self.chunks.len() * CHUNK_BYTES + self.used) - CHUNK_BYTES
    }

    /// One chunk.
    pub(super) fn chunk(&self, number: usize) -> &[u8] {
        self.chunks.get(number).map_or(&[], |chunk| chunk)
    }

    /// Puts the next chunk back, of names that take `bytes_used` in all; `None` when it is none.
    pub(super) fn put_back(&mut self, chunk: &[u8], bytes_used: usize) -> Option<()> {
        if chunk.len() != CHUNK_BYTES {
            return None;
        }
        self.used = (bytes_used - self.chunks.len() * CHUNK_BYTES).min(CHUNK_BYTES);
        self.chunks.push(chunk.into());
        Some(())
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES + self.chunks.capacity() * size_of::<Box<[u8]>>() + RECENT * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lies_there_once_and_comes_back() {
        let (mut names, hasher) = (Names::default(), RandomState::default());
        let texts: Vec<String> = (0..40).map(|n| format!("station-{n}.level")).collect();
        let mut place = |text: &str| names.place(&SensorName::new(text).unwrap(), &hasher).unwrap();
        let places: Vec<u32> = texts.iter().map(|text| place(text)).collect();
        assert_eq!(place(&texts[39]), places[39], "the newest is still in its slot");
        let longest = "x".repeat(wire::ids::MAX_SENSOR_NAME);
        let last = place(&longest);
        assert!(names.chunks.len() > 10, "in several chunks");
        for (text, &at) in texts.iter().zip(&places) {
            assert_eq!(names.get(at), text);
        }
        assert_eq!(names.get(last), longest);
        assert_eq!(names.get(last + 10_000), "", "nothing lies there");
    }
}
