//! Replays the fuzzers' kept inputs, so that a past find can never come back unnoticed.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new("../../benches/fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "no inputs in {}", folder.display());
}

#[test]
fn frames() {
    replay("frame", |bytes| {
        if let Ok(frame) = wire::Frame::decode(bytes) {
            let plain = frame.encode(wire::Codec::Plain).unwrap();
            assert_eq!(wire::Frame::decode(&plain), Ok(frame));
        }
    });
}

#[test]
fn receipts() {
    replay("receipt", |bytes| {
        if let Ok(receipt) = wire::Receipt::decode(bytes) {
            assert_eq!(wire::Receipt::decode(&receipt.encode()), Ok(receipt));
        }
    });
}
