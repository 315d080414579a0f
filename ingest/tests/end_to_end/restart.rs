//! A restart keeps everything: what is in Parquet, what is only in the log, and what was refused.

use serde_json::json;
use wire::Lane;
use wire::alarm::AlarmKind;

use crate::vocabulary::*;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_a_restart() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let topic = up("caotang-03", Lane::Reading);
    let frames: Vec<Vec<u8>> = (1..=10).map(|n| readings("caotang-03", n, &[20.0, 21.0])).collect();
    for frame in &frames {
        assert_eq!(gateway.publish(&topic, frame).await, Ok(()));
    }
    assert_eq!(
        gateway.publish(&up("caotang-03", Lane::Alarm), &alarm("caotang-03", 1, AlarmKind::Raised)).await,
        Ok(())
    );
    assert!(gateway.publish(&topic, b"junk").await.is_err());
    drop(gateway);

    let mut city = city;
    for _ in 0..2 {
        city = city.restarted().await;
        let stats = city.get("/api/v1/stats").await;
        assert_eq!(stats["readings"]["accepted"], json!(20), "{stats}");
        let sensor = city.get("/api/v1/sensors/caotang-03:hall.t").await;
        assert_eq!(sensor["last"]["value"], json!(21.0));
        let cells = city.get("/api/v1/cells?quantity=air-temperature&window=1d").await;
        assert_eq!(
            (&cells["cells"][0]["count"], &cells["cells"][0]["sum"]),
            (&json!(20), &json!(410.0)),
            "{cells}"
        );
        let read = city.get("/api/v1/sensors/caotang-03:hall.t/readings").await;
        assert_eq!(read["readings"].as_array().unwrap().len(), 20, "{read}");
        assert_eq!(city.get("/api/v1/alarms").await["items"][0]["state"], json!("active"));
        assert_eq!(city.get("/api/v1/quarantine").await["items"][0]["reason"], json!("not_a_frame"));
    }
    // The gateway did not hear the last acknowledgements and sends all of it again.
    let gateway = Client::new(city.mqtt(), "caotang-03");
    for frame in &frames {
        assert_eq!(gateway.publish(&topic, frame).await, Ok(()));
    }
    let stats = city.until("/api/v1/stats", |v| v["readings"]["duplicate"] == json!(20)).await;
    assert_eq!(stats["readings"]["accepted"], json!(20), "{stats}");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ingest_on_the_same_data_or_port_is_refused() {
    let city = City::start().await;
    let same_data =
        ingest::Server::start(config(city.folder.path())).await.err().map(|error| error.to_string());
    assert!(same_data.is_some(), "two processes on one log");
    let other = tempfile::TempDir::new().unwrap();
    for what in ["MQTT", "HTTP"] {
        let mut same_port = config(other.path());
        match what {
            "MQTT" => same_port.intake = ingest::config::Intake::Embedded(city.mqtt()),
            _ => same_port.http = city.http(),
        }
        let message = ingest::Server::start(same_port).await.err().unwrap().to_string();
        assert!(message.contains("cannot listen on") && message.contains(what), "{message}");
    }
    // What was started for the refused ones was stopped: their data can be used.
    ingest::Server::start(config(other.path())).await.unwrap().stop().await.unwrap();
    city.stop().await;
}
