//! The bytes of version 1, frozen. If a test in this file fails, do not change the test: a new layout is a new
//! version beside this one, and gateways in the field still send this one.
//!
//! Compressed bytes may change with the compressor, so frames are frozen plain, and one compressed frame of each
//! codec is kept as something that must stay readable.
#![allow(missing_docs, clippy::unwrap_used)]

mod vocabulary;

use vocabulary::{codecs, frame, payloads};
use wire::{Codec, Frame};

fn golden(name: &str) -> &'static [u8] {
    match name {
        "readings" => include_bytes!("golden/v1-readings-transposed.bin"),
        // Written by gateways up to November 2026; theirs stay readable.
        "readings-plain" => include_bytes!("golden/v1-readings.bin"),
        "readings-counted" => include_bytes!("golden/v1-readings-counted.bin"),
        "alarms" => include_bytes!("golden/v1-alarms.bin"),
        "announcement" => include_bytes!("golden/v1-announcement.bin"),
        "health" => include_bytes!("golden/v1-health.bin"),
        "envelopes" => include_bytes!("golden/v1-envelopes.bin"),
        "picture" => include_bytes!("golden/v1-picture.bin"),
        "losses" => include_bytes!("golden/v1-losses.bin"),
        "alarms-inputs" => include_bytes!("golden/v1-alarms-inputs.bin"),
        "readings-lz4" => include_bytes!("golden/v1-readings-lz4.bin"),
        "readings-zstd" => include_bytes!("golden/v1-readings-zstd.bin"),
        other => panic!("no golden file for {other}"),
    }
}

#[test]
fn plain_frames_are_the_frozen_bytes() {
    for (name, payload) in payloads() {
        let bytes = frame(payload.clone()).encode(Codec::Plain).unwrap();
        assert_eq!(bytes, golden(name), "{name}: version 1 is frozen");
        assert_eq!(Frame::decode(golden(name)), Ok(frame(payload)), "{name}");
    }
}

#[test]
fn old_frames_stay_readable() {
    let (_, readings) = payloads().swap_remove(0);
    assert_eq!(Frame::decode(golden("readings-plain")), Ok(frame(readings.clone())));
    assert_eq!(Frame::decode(golden("readings-lz4")), Ok(frame(readings.clone())));
    if cfg!(feature = "zstd") {
        assert_eq!(Frame::decode(golden("readings-zstd")), Ok(frame(readings)));
    }
}

#[test]
fn every_codec_brings_everything_back() {
    for (name, payload) in payloads() {
        for codec in codecs() {
            let bytes = frame(payload.clone()).encode(codec).unwrap();
            assert_eq!(Frame::decode(&bytes), Ok(frame(payload.clone())), "{name} {codec:?}");
        }
    }
}
