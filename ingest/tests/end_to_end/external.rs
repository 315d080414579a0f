//! Somebody else's broker: mosquitto between the gateway and ingest. Debian puts it where `PATH` of a user is not.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ingest::config::{BrokerUrl, Intake};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::Packet;
use rumqttc::{AsyncClient, Event, MqttOptions, PublishOptions};
use serde_json::json;
use tempfile::TempDir;
use wire::receipt::{Receipt, Verdict};
use wire::{GatewayId, Lane};

use crate::vocabulary::*;

/// A mosquitto of our own, ended with the test.
struct Mosquitto {
    addr: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Mosquitto {
    fn start(addr: Option<SocketAddr>) -> Self {
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
            .expect("mosquitto is missing: apt-get install mosquitto");
        // The port is free now; nobody else is likely to take it in the next moment.
        let addr = addr.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mosquitto.conf");
        let settings =
            format!("listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n", addr.port());
        std::fs::write(&path, settings).unwrap();
        let mut command = Command::new(program);
        let child = command.arg("-c").arg(&path).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let started = Self { addr, child, _folder: folder };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(addr).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        started
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway that hears its receipts.
struct Listening {
    client: AsyncClient,
    events: rumqttc::EventLoop,
}

impl Listening {
    async fn new(addr: SocketAddr, id: &str) -> Self {
        let mut options = MqttOptions::new(id, (addr.ip().to_string(), addr.port()));
        options.set_clean_start(true).set_max_packet_size(Some(256 * 1024));
        let (client, mut events) = AsyncClient::builder(options).capacity(100).build();
        client.try_subscribe(wire::topic::receipt(&GatewayId::new(id).unwrap()), QoS::AtLeastOnce).unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
        Self { client, events }
    }

    fn send(&self, topic: &str, payload: Vec<u8>) {
        self.client.try_publish(topic, payload, PublishOptions::at_least_once()).unwrap();
    }

    async fn receipt(&mut self) -> Receipt {
        let next = async {
            loop {
                if let Event::Incoming(Packet::Publish(publish)) = self.events.poll().await.unwrap() {
                    return Receipt::decode(&publish.payload).unwrap();
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("no receipt came")
    }
}

async fn city_behind(mosquitto: &Mosquitto) -> City {
    let url = BrokerUrl { host: "127.0.0.1".into(), port: mosquitto.addr.port() };
    let city = City::with(|config| config.intake = Intake::External(url)).await;
    city.until("/api/v1/health", |v| v["status"] == json!("ok")).await;
    city
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_behind_a_foreign_broker_get_receipts() {
    let mosquitto = Mosquitto::start(None);
    let city = city_behind(&mosquitto).await;
    assert_eq!(city.server.mqtt_addr, None);
    let mut gateway = Listening::new(mosquitto.addr, "caotang-03").await;
    let topic = up("caotang-03", Lane::Reading);
    let mut open: std::collections::BTreeSet<u64> = (1..=20).collect();
    for sequence in open.clone() {
        gateway.send(&topic, readings("caotang-03", sequence, &[20.0, 21.0]));
    }
    while !open.is_empty() {
        let receipt = gateway.receipt().await;
        assert_eq!((receipt.store, receipt.lane, receipt.verdict), (STORE, Lane::Reading, Verdict::Durable));
        for sequence in receipt.sequences {
            assert!(open.remove(&sequence), "{sequence} twice");
        }
    }
    let stats = city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(40)).await;
    assert_eq!(stats["readings"]["duplicate"], json!(0));

    // A repeat gets its receipt again, and a frame that is refused says so.
    gateway.send(&topic, readings("caotang-03", 7, &[20.0, 21.0]));
    assert_eq!(gateway.receipt().await.sequences, [7]);
    let far = now_ms() + 10 * 86_400_000;
    gateway.send(&topic, readings_until("caotang-03", 21, &[20.0], far));
    let refused = gateway.receipt().await;
    assert_eq!((refused.sequences.as_slice(), refused.verdict), (&[21][..], Verdict::Refused));

    // Third parties come the same way.
    gateway.send("senml/river-works", br#"[{"n":"station/funan-1/level","u":"m","v":1}]"#.to_vec());
    let next = async { while gateway.events.poll().await.is_ok() {} };
    tokio::select! {
        () = next => panic!("the broker went away"),
        _ = city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(41)) => {}
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_is_reported_and_found_again() {
    let mosquitto = Mosquitto::start(None);
    let addr = mosquitto.addr;
    let city = city_behind(&mosquitto).await;
    drop(mosquitto);
    let health = city.until("/api/v1/health", |v| v["status"] == json!("degraded")).await;
    let broker =
        health["checks"].as_array().unwrap().iter().find(|check| check["name"] == json!("broker")).unwrap();
    assert!(broker["detail"].as_str().unwrap().contains("not connected to 127.0.0.1"), "{broker}");
    let mosquitto = Mosquitto::start(Some(addr));
    city.until("/api/v1/health", |v| v["status"] == json!("ok")).await;
    let mut gateway = Listening::new(mosquitto.addr, "caotang-03").await;
    gateway.send(&up("caotang-03", Lane::Reading), readings("caotang-03", 1, &[20.0]));
    assert_eq!(gateway.receipt().await.sequences, [1]);
    city.stop().await;
}
