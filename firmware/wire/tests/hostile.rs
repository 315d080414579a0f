//! Bytes from outside: never a panic, never a wrong frame, never unbounded memory.
#![allow(missing_docs, clippy::unwrap_used)]

mod vocabulary;

use proptest::prelude::*;
use vocabulary::{batch, clock, codecs, frame, payloads, place, sensor};
use wire::frame::{MAX_FRAME_BYTES, crc32c};
use wire::*;

/// Puts a right checksum under changed bytes, so that the checks behind it are reached.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() > 4 {
        let end = bytes.len() - 4;
        let sum = crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

#[test]
fn every_single_flipped_bit_is_noticed() {
    let bytes = frame(payloads().swap_remove(0).1).encode(Codec::best()).unwrap();
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(Frame::decode(&damaged).is_err(), "bit {at}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = frame(payloads().swap_remove(0).1).encode(Codec::Plain).unwrap();
    for length in 0..bytes.len() {
        assert!(Frame::decode(&bytes[..length]).is_err(), "{length}");
        assert!(Frame::decode(&resealed(bytes[..length].to_vec())).is_err(), "resealed {length}");
    }
}

#[test]
fn what_breaks_a_rule_is_not_sent() {
    let encode = |change: fn(&mut Batch)| {
        let mut b = batch();
        change(&mut b);
        frame(Payload::Readings(b)).encode(Codec::Plain)
    };
    assert_eq!(encode(|b| b.readings.clear()), Err(EncodeError::Empty));
    assert_eq!(encode(|b| b.readings[0].series = 9), Err(EncodeError::Dangling));
    assert_eq!(encode(|b| b.series[0].place = 9), Err(EncodeError::Dangling));
    assert_eq!(encode(|b| b.readings[0].value = None), Err(EncodeError::BadValue { series: 0 }));
    assert_eq!(encode(|b| b.readings[0].value = Some(f64::NAN)), Err(EncodeError::BadValue { series: 0 }));
    assert_eq!(encode(|b| b.readings[0].mono_ms = u64::MAX), Err(EncodeError::BadTime));
    assert!(matches!(
        encode(|b| b.readings = vec![b.readings[0]; 5_000]),
        Err(EncodeError::TooMany { what: "readings", .. })
    ));
}

#[test]
fn a_payload_of_the_future_is_called_so() {
    let bytes = frame(payloads().swap_remove(0).1).encode(Codec::Plain).unwrap();
    let of_kind = |kind| {
        let mut bytes = bytes.clone();
        let at = 31 + usize::from(bytes[30]);
        bytes[at] = kind;
        Frame::decode(&resealed(bytes))
    };
    assert!(of_kind(6).is_ok() && of_kind(7).is_ok());
    for kind in [10, 250] {
        assert_eq!(of_kind(kind), Err(DecodeError::Kind { found: kind }));
    }
    assert_eq!(of_kind(255), Err(DecodeError::Malformed));
}

#[test]
fn an_alarm_that_breaks_a_rule_is_not_sent() {
    let encode = |change: fn(&mut AlarmEvent)| {
        let Some((_, Payload::Alarms(mut alarms))) = payloads().pop() else { panic!("alarms come last") };
        change(&mut alarms.events[0]);
        frame(Payload::Alarms(alarms)).encode(Codec::Plain)
    };
    assert!(encode(|_| ()).is_ok());
    for (what, change) in [
        ("more inputs than allowed", (|e| e.inputs = vec![e.inputs[0].clone(); 9]) as fn(&mut AlarmEvent)),
        ("an input without its value", |e| e.inputs[0].value = None),
        ("a fault with a value", |e| e.inputs[1].value = Some(0.0)),
        ("an input that is no number", |e| e.inputs[0].value = Some(f64::NAN)),
        ("a worst value that is no number", |e| e.worst = Some(f64::INFINITY)),
    ] {
        assert!(matches!(encode(change), Err(EncodeError::Inconsistent { .. })), "{what}");
    }
}

#[test]
fn a_frame_too_large_asks_to_be_split() {
    let mut random = fastrand::Rng::with_seed(1);
    let readings = (0..4_000)
        .map(|n| Reading { series: 0, mono_ms: n, value: Some(random.f64()), quality: Quality::Good })
        .collect();
    let big = Batch { readings, ..batch() };
    match frame(Payload::Readings(big)).encode(Codec::best()) {
        Err(EncodeError::TooLarge { bytes }) => assert!(bytes > MAX_FRAME_BYTES),
        other => panic!("{other:?}"),
    }
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let value = prop_oneof![
        (-100_000_i64..100_000).prop_map(|v| v as f64 / 100.0),
        any::<f64>().prop_filter("finite", |v| v.is_finite()),
        Just(0.0),
    ];
    (0_u16..3, 0_u64..1 << 50, value, 0_usize..4).prop_map(|(series, mono_ms, value, quality)| {
        let quality = Quality::ALL[quality];
        Reading { series, mono_ms, value: quality.has_value().then_some(value), quality }
    })
}

proptest! {
    #[test]
    fn any_batch_comes_back(mut readings in prop::collection::vec(any_reading(), 1..300)) {
        let all = ["a", "b", "c"].map(|name| Series { sensor: sensor(name), quantity: QuantityCode(1), place: 0 });
        readings.sort_by_key(|r| r.series);
        let mut series: Vec<Series> = Vec::new();
        let mut seen: Vec<u16> = Vec::new();
        for reading in &mut readings {
            if seen.last() != Some(&reading.series) {
                seen.push(reading.series);
                series.push(all[usize::from(reading.series)].clone());
            }
            reading.series = (seen.len() - 1) as u16;
        }
        let batch = Batch { boot: BootId(1), clock: clock(), places: vec![place(30.0, 104.0)], series, readings };
        for codec in codecs() {
            let bytes = match frame(Payload::Readings(batch.clone())).encode(codec) {
                Ok(bytes) => bytes,
                Err(EncodeError::TooLarge { .. }) => continue,
                Err(other) => panic!("{other}"),
            };
            prop_assert_eq!(Frame::decode(&bytes), Ok(frame(Payload::Readings(batch.clone()))));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Frame::decode(&bytes);
        let _ = Receipt::decode(&bytes);
    }

    #[test]
    fn mutated_frames_never_panic(which in 0_usize..9, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = frame(payloads().swap_remove(which).1).encode(Codec::Plain).unwrap();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // Whatever still decodes must obey the rules: it can be packed again.
        if let Ok(frame) = Frame::decode(&resealed(bytes)) {
            prop_assert!(frame.payload.items() > 0);
            if let Payload::Readings(batch) = &frame.payload {
                for reading in &batch.readings {
                    prop_assert!(usize::from(reading.series) < batch.series.len());
                    prop_assert_eq!(reading.value.is_some(), reading.quality.has_value());
                }
            }
        }
    }
}
