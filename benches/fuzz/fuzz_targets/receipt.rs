//! Receipts from a broker that is not ours.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wire::Receipt;

fuzz_target!(|data: &[u8]| {
    if let Ok(receipt) = Receipt::decode(data) {
        assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
    }
});
