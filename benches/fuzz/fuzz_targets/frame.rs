//! Frames: raw bytes, and the same bytes under a right header and checksum, so that the payload decoders are reached.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wire::frame::{MAX_RAW_BYTES, crc32c};
use wire::{Frame, Payload};

fn check(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(bytes) else { return };
    assert!(frame.payload.items() > 0 && frame.sequence > 0);
    if let Payload::Readings(batch) = &frame.payload {
        for reading in &batch.readings {
            let series = &batch.series[usize::from(reading.series)];
            assert!(usize::from(series.place) < batch.places.len());
            assert_eq!(reading.value.is_some(), reading.quality.has_value());
            assert!(reading.value.is_none_or(f64::is_finite));
        }
    }
    // What was accepted can be packed again, and is the same then.
    if let Ok(again) = frame.encode(wire::Codec::Plain) {
        assert_eq!(Frame::decode(&again).as_ref(), Ok(&frame));
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let Some((&choice, raw)) = data.split_first() else { return };
    if raw.len() > MAX_RAW_BYTES / 16 {
        return;
    }
    let mut bytes = b"WFB1".to_vec();
    bytes.push([0, 2, 4][usize::from(choice % 3)]);
    bytes.push(choice / 3 % 3);
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    // Items and raw length as the data says, else nothing would ever fit.
    let Some((counts, body)) = raw.split_at_checked(4) else { return };
    bytes.extend_from_slice(&[counts[0], counts[1] & 15, 0, 0]);
    let length = if choice / 3 % 3 == 0 { body.len() as u32 } else { u32::from(counts[2]) | u32::from(counts[3]) << 8 };
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[1, b'a']);
    bytes.extend_from_slice(body);
    let sum = crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    check(&bytes);
});
