//! SenML of strangers, JSON and CBOR, through the mapping: whatever comes out is a sound reading or a reason.
#![no_main]
use std::sync::OnceLock;

use configs::Catalogue;
use ingest::senml::{MAX_RECORDS, Mappings, SenmlFormat};
use libfuzzer_sys::fuzz_target;
use wire::GatewayId;

const NOW_MS: i64 = 1_790_000_000_000;

fn rules() -> &'static (Catalogue, Mappings, GatewayId) {
    static RULES: OnceLock<(Catalogue, Mappings, GatewayId)> = OnceLock::new();
    RULES.get_or_init(|| {
        let catalogue = Catalogue::builtin();
        let mut mappings = Mappings::default();
        let text = include_str!("../../../configs/senml/river-works.toml");
        mappings.add("river-works.toml", text, &catalogue).expect("the shipped mapping is sound");
        (catalogue, mappings, GatewayId::new("river-works").expect("a valid id"))
    })
}

fuzz_target!(|data: &[u8]| {
    let (catalogue, mappings, source) = rules();
    for format in [SenmlFormat::Json, SenmlFormat::Cbor] {
        let mapped = mappings.map(source, format, data, NOW_MS, catalogue);
        assert!(mapped.readings.len() <= MAX_RECORDS && mapped.refused.len() <= MAX_RECORDS + 1);
        for reading in &mapped.readings {
            assert!(reading.value.is_finite());
            assert!(catalogue.get(reading.quantity).is_some());
        }
        assert!(mapped.refused.iter().all(|(_, reason)| !reason.is_empty()));
    }
});
