//! Packs from end to end: the shipped mapping files, good, bad and mixed packs, and hostile bytes.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_763_800_000_000;

fn shipped() -> (Mappings, Catalogue) {
    let catalogue = Catalogue::builtin();
    let folder = std::path::Path::new("../configs/senml");
    let mappings = Mappings::load(folder, &catalogue).unwrap_or_else(|problems| panic!("{problems}"));
    (mappings, catalogue)
}

fn map(source: &str, body: &str) -> Mapped {
    let (mappings, catalogue) = shipped();
    mappings.map(&GatewayId::new(source).unwrap(), SenmlFormat::Json, body.as_bytes(), NOW, &catalogue)
}

#[test]
fn the_pack_of_the_river_works_is_understood() {
    let mapped = map(
        "river-works",
        r#"[{"bn":"station/jinjiang-2/","bt":1.7637e9,"n":"level","u":"m","v":3.42},{"n":"rain","v":0.2}]"#,
    );
    assert_eq!(mapped.refused, []);
    let [level, rain] = mapped.readings.as_slice() else { panic!("{mapped:?}") };
    assert_eq!(
        (level.sensor.as_str(), level.value, level.at_ms, level.timed),
        ("jinjiang-2.level", 3420.0, 1_763_700_000_000, true)
    );
    assert_eq!((rain.sensor.as_str(), rain.value), ("jinjiang-2.rain", 0.2));
    assert_eq!(level.place.datum, wire::Datum::Cgcs2000);
}

#[test]
fn the_air_stations_send_kelvin() {
    let mapped = map(
        "clean-air",
        r#"[{"bn":"urn:dev:mac:00AB:","n":"temp","u":"K","v":294.15},{"n":"hum","u":"percent","v":40}]"#,
    );
    assert_eq!(mapped.refused, []);
    assert!((mapped.readings[0].value - 21.0).abs() < 1e-9, "{mapped:?}");
    assert_eq!(mapped.readings[0].sensor.as_str(), "00ab.temperature");
    assert_eq!(
        (mapped.readings[1].value, mapped.readings[1].at_ms, mapped.readings[1].timed),
        (40.0, NOW, false)
    );
}

#[test]
fn bad_records_are_refused_with_reasons_and_good_ones_stay() {
    let mapped = map(
        "river-works",
        r#"[{"n":"station/jinjiang-2/level","u":"m","v":1},
            {"n":"station/jinjiang-2/level","u":"Cel","v":1},
            {"n":"station/jinjiang-2/level","v":1},
            {"n":"station/jinjiang-2/fish","u":"1","v":1},
            {"n":"station/jinjiang-2/level","u":"m","vs":"high"},
            {"n":"station/funan-1/level","u":"mm","v":900}]"#,
    );
    assert_eq!(mapped.readings.len(), 2, "{mapped:?}");
    let reasons: Vec<(usize, &str)> =
        mapped.refused.iter().map(|(index, reason)| (*index, reason.as_str())).collect();
    assert_eq!(reasons[0].0, 1);
    assert!(reasons[0].1.contains("unit \"Cel\" does not measure water-level: \"mm\""), "{reasons:?}");
    assert!(reasons[1].1.contains("no unit: water-level is measured in \"mm\""), "{reasons:?}");
    assert!(reasons[2].1.contains("no rule maps this name"), "{reasons:?}");
    assert!(reasons[3].1.contains("found a text (vs)"), "{reasons:?}");
}

#[test]
fn an_unknown_source_is_told_the_known_ones() {
    let mapped = map("river-work", "[]");
    assert_eq!(mapped.refused.len(), 1);
    let reason = &mapped.refused[0].1;
    assert!(
        reason.contains("no mapping for source \"river-work\"") && reason.contains("clean-air, river-works"),
        "{reason}"
    );
}

#[test]
fn the_format_of_an_mqtt_payload_is_guessed() {
    assert_eq!(SenmlFormat::guess(b" [{}]"), SenmlFormat::Json);
    assert_eq!(SenmlFormat::guess(&[0x81, 0xa0]), SenmlFormat::Cbor);
    assert_eq!(SenmlFormat::guess(b""), SenmlFormat::Cbor);
}

#[test]
fn a_body_is_bounded() {
    let mapped = map("river-works", &" ".repeat(MAX_BODY + 1));
    assert!(mapped.refused[0].1.contains("at most 65536 are accepted"), "{mapped:?}");
}

/// The same record in CBOR, so that both formats can be compared.
fn cbor_record(out: &mut Vec<u8>, name: &str, unit: &str, value: f64, time: f64) {
    let mut encoder = minicbor::Encoder::new(out);
    let written = encoder
        .map(4)
        .and_then(|e| e.i8(0)?.str(name)?.i8(1)?.str(unit)?.i8(2)?.f64(value)?.i8(6)?.f64(time));
    assert!(written.is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..400), json in any::<bool>()) {
        let (mappings, catalogue) = shipped();
        let format = if json { SenmlFormat::Json } else { SenmlFormat::Cbor };
        let mapped = mappings.map(&GatewayId::new("river-works").unwrap(), format, &body, NOW, &catalogue);
        prop_assert!(mapped.readings.iter().all(|reading| reading.value.is_finite()));
    }

    #[test]
    fn mutated_packs_are_answered(at in 0_usize..120, byte in any::<u8>(), cut in 0_usize..120) {
        let (mappings, catalogue) = shipped();
        let mut body = br#"[{"bn":"station/jinjiang-2/","bt":1.76e9,"n":"level","u":"m","v":3.42},{"n":"rain","u":"mm","v":0.2}]"#.to_vec();
        if let Some(there) = body.get_mut(at) { *there = byte; }
        body.truncate(body.len().saturating_sub(cut));
        let mapped = mappings.map(&GatewayId::new("river-works").unwrap(), SenmlFormat::Json, &body, NOW, &catalogue);
        prop_assert!(!mapped.readings.is_empty() || !mapped.refused.is_empty());
    }

    #[test]
    fn json_and_cbor_mean_the_same(value in -1e3..1e3_f64, ago in 0..100_000_u32, unit in prop::sample::select(vec!["m", "mm", "cm", "Cel"])) {
        let (mappings, catalogue) = shipped();
        let source = GatewayId::new("river-works").unwrap();
        let time = 1_763_800_000.0 - f64::from(ago);
        let name = "station/funan-1/level";
        let json = serde_json::json!([{ "n": name, "u": unit, "v": value, "t": time }]).to_string();
        let mut cbor = vec![0x81];
        cbor_record(&mut cbor, name, unit, value, time);
        prop_assert_eq!(
            mappings.map(&source, SenmlFormat::Json, json.as_bytes(), NOW, &catalogue),
            mappings.map(&source, SenmlFormat::Cbor, &cbor, NOW, &catalogue)
        );
    }
}
