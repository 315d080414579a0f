//! Frames of gateways: taken once, visible at once, refused with the right word.

use rumqttc::mqttbytes::v5::PubAckReason;
use serde_json::json;
use wire::Lane;

use crate::vocabulary::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_acknowledged_and_visible_everywhere() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let topic = up("caotang-03", Lane::Reading);
    assert_eq!(gateway.publish(&topic, &readings("caotang-03", 1, &[20.0, 21.0, 23.5])).await, Ok(()));

    let sensor = city.until("/api/v1/sensors/caotang-03:hall.t", |v| v["last"]["value"] == json!(23.5)).await;
    assert_eq!(sensor["quantity"]["name"], "air-temperature");
    assert_eq!(sensor["area"], "chengdu/qingyang/caotang");
    let read = city.get("/api/v1/sensors/caotang-03:hall.t/readings").await;
    let values: Vec<&serde_json::Value> =
        read["readings"].as_array().unwrap().iter().map(|r| &r["value"]).collect();
    assert_eq!(values, [&json!(20.0), &json!(21.0), &json!(23.5)]);

    // Three seconds may lie in two minutes: the newest hour does not.
    for precision in [5, 6, 7] {
        let cells = city
            .get(&format!("/api/v1/cells?quantity=air-temperature&window=1d&precision={precision}"))
            .await;
        let cell = &cells["cells"][0];
        assert_eq!((&cell["count"], &cell["sum"]), (&json!(3), &json!(64.5)), "{cells}");
        assert_eq!(cell["cell"].as_str().unwrap().len(), precision);
    }
    let outside = city.get("/api/v1/cells?quantity=air-temperature&bbox=110,30,111,31").await;
    assert_eq!(outside["cells"], json!([]));

    let gateways = city.get("/api/v1/gateways").await;
    assert_eq!(
        (&gateways["items"][0]["id"], &gateways["items"][0]["state"]),
        (&json!("caotang-03"), &json!("live"))
    );
    let lane = &gateways["items"][0]["lanes"][0];
    assert_eq!(
        (&lane["lane"], &lane["high_water"], &lane["state"]),
        (&json!("reading"), &json!(1), &json!("complete"))
    );
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_acknowledged_and_counted_once() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let topic = up("caotang-03", Lane::Reading);
    let frame = readings("caotang-03", 1, &[20.0, 21.0]);
    for _ in 0..3 {
        assert_eq!(gateway.publish(&topic, &frame).await, Ok(()));
    }
    let stats = city.until("/api/v1/stats", |v| v["readings"]["received"] == json!(6)).await;
    assert_eq!((&stats["readings"]["accepted"], &stats["readings"]["duplicate"]), (&json!(2), &json!(4)));
    let cells = city.get("/api/v1/cells?quantity=air-temperature&window=1d").await;
    assert_eq!(cells["cells"][0]["count"], json!(2));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_speaks_for_itself_only() {
    let city = City::start().await;
    let impostor = Client::new(city.mqtt(), "other-01");
    let frame = readings("caotang-03", 1, &[20.0]);
    let refused = impostor.publish(&up("caotang-03", Lane::Reading), &frame).await;
    assert_eq!(refused, Err(PubAckReason::NotAuthorized));
    // Its own topic does not make the frame its own.
    let refused = impostor.publish(&up("other-01", Lane::Reading), &frame).await;
    assert!(
        matches!(refused, Err(PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid)),
        "{refused:?}"
    );
    assert_eq!(city.get("/api/v1/sensors").await["items"], json!([]));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_is_held_with_its_reason() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let topic = up("caotang-03", Lane::Reading);
    let mut damaged = readings("caotang-03", 1, &[20.0, 21.0]);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    assert_eq!(gateway.publish(&topic, &damaged).await, Err(PubAckReason::PayloadFormatInvalid));
    assert_eq!(gateway.publish(&topic, b"junk").await, Err(PubAckReason::PayloadFormatInvalid));
    let endless = [b"WFB1".as_slice(), &[0; 100_000]].concat();
    assert_eq!(gateway.publish(&topic, &endless).await, Err(PubAckReason::PayloadFormatInvalid));
    assert_eq!(
        gateway.publish("wf/1/caotang-03/up/nonsense", b"x").await,
        Err(PubAckReason::TopicNameInvalid)
    );
    // The connection lives on, and so does the gateway's right to be heard.
    assert_eq!(gateway.publish(&topic, &readings("caotang-03", 1, &[20.0])).await, Ok(()));

    let held = city.until("/api/v1/quarantine", |v| v["items"].as_array().unwrap().len() == 4).await;
    let reasons: Vec<&str> =
        held["items"].as_array().unwrap().iter().map(|v| v["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["unknown_topic", "too_large", "not_a_frame", "damaged"]);
    for item in held["items"].as_array().unwrap() {
        assert!(
            !item["zh"].as_str().unwrap().is_empty() && !item["detail"].as_str().unwrap().is_empty(),
            "{item}"
        );
    }
    // Damaged bytes stay damaged: a replay says so.
    let id = &held["items"][3]["id"];
    let replayed =
        ask(city.http(), "POST", &format!("/api/v1/quarantine/{id}/replay"), &[], b"").await.json();
    assert_eq!((&replayed["id"], &replayed["state"]), (id, &json!("refused_again")));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_at_qos_0_is_taken_too() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    gateway.mention(&up("caotang-03", Lane::Reading), &readings("caotang-03", 1, &[20.0])).await;
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(1)).await;
    city.stop().await;
}
