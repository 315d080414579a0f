//! Third parties: good, bad and mixed packs by MQTT and HTTP, JSON and CBOR.

use rumqttc::mqttbytes::v5::PubAckReason;
use serde_json::json;

use crate::vocabulary::*;

const JSON: (&str, &str) = ("content-type", "application/senml+json");
const CBOR: (&str, &str) = ("content-type", "application/senml+cbor");

async fn post(city: &City, kind: (&str, &str), body: &[u8]) -> Answer {
    ask(city.http(), "POST", "/api/v1/senml?source=river-works", &[kind], body).await
}

/// `[{0: name, 1: unit, 2: value}]`
fn cbor(name: &str, unit: &str, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut out);
    encoder.array(1).unwrap().map(3).unwrap();
    encoder
        .i8(0)
        .unwrap()
        .str(name)
        .unwrap()
        .i8(1)
        .unwrap()
        .str(unit)
        .unwrap()
        .i8(2)
        .unwrap()
        .f64(value)
        .unwrap();
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn good_packs_land_in_the_right_cell() {
    let city = City::start().await;
    let answer = post(&city, JSON, br#"[{"n":"station/jinjiang-2/level","u":"m","v":3.42}]"#).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json(), json!({"accepted": 1, "duplicate": false, "refused": []}));
    let answer = post(&city, CBOR, &cbor("station/funan-1/level", "cm", 120.0)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());

    let cells = city
        .until("/api/v1/cells?quantity=water-level&precision=7&window=1d", |v| {
            v["cells"].as_array().unwrap().len() == 2
        })
        .await;
    let sums: Vec<f64> =
        cells["cells"].as_array().unwrap().iter().map(|c| c["sum"].as_f64().unwrap()).collect();
    assert!(
        sums.contains(&3420.0) && sums.contains(&1200.0),
        "metres and centimetres became millimetres: {cells}"
    );
    let sensor = city.get("/api/v1/sensors/river-works:jinjiang-2.level").await;
    let bbox =
        cells["cells"].as_array().unwrap().iter().find(|c| c["cell"] == sensor["cell"]).unwrap()["bbox"]
            .clone();
    let (lon, lat) = (sensor["lon"].as_f64().unwrap(), sensor["lat"].as_f64().unwrap());
    let edge = |n: usize| bbox[n].as_f64().unwrap();
    assert!(edge(0) <= lon && lon < edge(2) && edge(1) <= lat && lat < edge(3), "{sensor} in {bbox}");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_pack_is_taken_in_part_and_the_rest_can_be_replayed_when_mended() {
    let city = City::start().await;
    let pack = br#"[{"n":"station/jinjiang-2/level","u":"m","v":1},{"n":"station/jinjiang-2/fish","u":"m","v":2},{"n":"station/x/rain","v":0.2}]"#;
    let answer = post(&city, JSON, pack).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["accepted"], &body["refused"][0]["record"]), (&json!(2), &json!(1)));
    assert!(body["refused"][0]["reason"].as_str().unwrap().contains("no rule maps this name"), "{body}");
    let held = city.until("/api/v1/quarantine", |v| v["items"].as_array().unwrap().len() == 1).await;
    let item = &held["items"][0];
    assert_eq!(
        (&item["source"], &item["kind"], &item["state"]),
        (&json!("river-works"), &json!("senml+json"), &json!("held"))
    );
    assert!(item["detail"].as_str().unwrap().contains("station/jinjiang-2/fish"), "{item}");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_packs_are_refused_with_a_reason_a_stranger_understands() {
    let city = City::start().await;
    for (kind, body, status, expected) in [
        (
            JSON,
            &br#"[{"n":"station/jinjiang-2/level","v":1}]"#[..],
            422,
            "no unit: water-level is measured in \"mm\"",
        ),
        (JSON, br#"[{"n":"station/jinjiang-2/level","u":"m","vs":"high"}]"#, 422, "found a text (vs)"),
        (JSON, b"{}", 422, "a SenML pack is an array of records"),
        (JSON, b"[{", 422, "not valid JSON"),
        (CBOR, &[0x81, 0xa1], 422, "the pack ends in the middle of a record"),
        (
            ("content-type", "text/plain"),
            b"[]",
            415,
            "application/senml+json or application/senml+cbor expected",
        ),
        (("x-nothing", "y"), b"[]", 415, "Content-Type \"\" is not understood"),
    ] {
        let answer = post(&city, kind, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{expected:?} not in {problem}");
        assert!(!problem["detail_zh"].as_str().unwrap().is_empty());
    }
    let large = post(&city, JSON, &vec![b' '; 70_000]).await;
    assert_eq!(large.status, 413, "{}", large.text());
    let strange = ask(city.http(), "POST", "/api/v1/senml?source=River", &[JSON], b"[]").await;
    assert_eq!(strange.status, 400, "{}", strange.text());
    let missing = ask(city.http(), "POST", "/api/v1/senml", &[JSON], b"[]").await;
    assert_eq!(missing.status, 400, "{}", missing.text());
    let unknown = ask(city.http(), "POST", "/api/v1/senml?source=nobody", &[JSON], b"[]").await;
    assert_eq!(unknown.status, 422, "{}", unknown.text());
    assert!(unknown.text().contains("no mapping for source"), "{}", unknown.text());
    assert_eq!(city.get("/api/v1/stats").await["readings"]["accepted"], json!(0));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_with_times_counts_once() {
    let city = City::start().await;
    let at = now_ms() / 1000;
    let pack = json!([{"n": "station/jinjiang-2/level", "u": "m", "v": 1, "t": at}]).to_string();
    assert_eq!(post(&city, JSON, pack.as_bytes()).await.json()["duplicate"], json!(false));
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(1)).await;
    let again = post(&city, JSON, pack.as_bytes()).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (202, &json!(true)));
    assert_eq!(city.get("/api/v1/stats").await["readings"]["accepted"], json!(1));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_come_by_mqtt_in_both_formats() {
    let city = City::start().await;
    let client = Client::new(city.mqtt(), "any-name_of:theirs");
    assert_eq!(
        client.publish("senml/river-works", br#"[{"n":"station/jinjiang-2/level","u":"m","v":3.42}]"#).await,
        Ok(())
    );
    assert_eq!(client.publish("senml/river-works", &cbor("station/funan-1/level", "m", 1.0)).await, Ok(()));
    let refused = client.publish("senml/river-works", &cbor("station/funan-1/level", "Cel", 1.0)).await;
    assert_eq!(refused, Err(PubAckReason::PayloadFormatInvalid));
    let stats = city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(2)).await;
    assert_eq!(stats["lanes"][5]["lane"], json!("senml"));
    let held = city.until("/api/v1/quarantine", |v| v["items"].as_array().unwrap().len() == 1).await;
    assert_eq!(
        (&held["items"][0]["kind"], &held["items"][0]["reason"]),
        (&json!("senml+cbor"), &json!("senml_refused"))
    );
    city.stop().await;
}
