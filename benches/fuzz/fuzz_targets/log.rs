//! A damaged log segment: opening never panics, and only records that were written are read back.
#![no_main]
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use ingest::log::{Entry, Log, LogConfig, SegmentFile, Storage};
use libfuzzer_sys::fuzz_target;

const CONFIG: LogConfig = LogConfig { segment_bytes: 16 * 1024, keep_ms: 1_000, keep_bytes: 1 << 30 };
const PAYLOADS: [&[u8]; 4] = [b"first", b"", b"a third, longer than an alignment", b"last"];

/// Segments in memory, shared so that the test can reach in.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

struct Segment(Memory, u64);

impl Storage for Memory {
    type File = Segment;
    fn list(&mut self) -> io::Result<Vec<u64>> {
        Ok(self.0.lock().expect("no panic while held").keys().copied().collect())
    }
    fn create(&mut self, base: u64, header: &[u8], length: u64) -> io::Result<Segment> {
        let mut bytes = vec![0; length as usize];
        bytes[..header.len()].copy_from_slice(header);
        self.0.lock().expect("no panic while held").insert(base, bytes);
        self.open(base)
    }
    fn open(&mut self, base: u64) -> io::Result<Segment> {
        Ok(Segment(self.clone(), base))
    }
    fn remove(&mut self, base: u64) -> io::Result<()> {
        self.0.lock().expect("no panic while held").remove(&base);
        Ok(())
    }
}

impl SegmentFile for Segment {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().expect("no panic while held")[&self.1].len() as u64)
    }
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let all = self.0.0.lock().expect("no panic while held");
        let rest = all[&self.1].get(offset as usize..).unwrap_or_default();
        Ok(rest[..length.min(rest.len())].to_vec())
    }
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut all = self.0.0.lock().expect("no panic while held");
        let segment = all.get_mut(&self.1).expect("it is open");
        segment[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let memory = Memory::default();
    {
        let Ok((mut log, _)) = Log::open(memory.clone(), CONFIG, 0, 0, |_| Ok::<_, Infallible>(())) else { return };
        for payload in PAYLOADS {
            let _ = log.append(&[Entry { received_ms: 1, kind: 1, source: "gateway", payload }]);
        }
    }
    // Edits: where (three bytes), what (one byte), within what was written and a little behind it.
    for edit in data.chunks_exact(4).take(64) {
        let at = usize::from(edit[0]) | usize::from(edit[1] & 1) << 8 | usize::from(edit[1] >> 7) << 12;
        if let Some(byte) = memory.0.lock().expect("no panic while held").values_mut().next().and_then(|s| s.get_mut(at)) {
            *byte ^= edit[3];
        }
    }
    let mut read = Vec::new();
    let _ = Log::open(memory, CONFIG, 0, 0, |record| {
        read.push(record.payload);
        Ok::<_, Infallible>(())
    });
    assert!(read.iter().all(|payload| PAYLOADS.contains(&payload.as_slice())), "a record that nobody wrote");
});
