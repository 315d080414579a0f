//! The serial line of an ultrasonic level sensor: any noise, and a good frame behind it is always found.
#![no_main]
use drivers::a02yyuw::{Decoded, Decoder, FARTHEST_MM, NEAREST_MM};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new();
    for &byte in data {
        if let Some(Decoded::Distance { mm }) = decoder.push(byte) {
            assert!((NEAREST_MM..=FARTHEST_MM).contains(&mm));
        }
    }
    // Whatever came before: of three good frames in a row the last is understood.
    let mut last = None;
    for byte in [0xff, 0x07, 0xa1, 0xa7].repeat(3) {
        last = decoder.push(byte);
    }
    assert_eq!(last, Some(Decoded::Distance { mm: 0x7a1 }));
});
