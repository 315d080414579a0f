//! The words the tests speak in: a city that serves, a gateway that publishes, a question by HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ingest::config::{Config, Intake};
use ingest::{ServeError, Server};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::PubAckReason;
use rumqttc::{AsyncClient, MqttOptions, PublishNoticeError, PublishOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use wire::alarm::{AlarmEvent, AlarmKind, Alarms, Input, Level};
use wire::frame::{Codec, Frame, Payload};
use wire::{
    Area, Batch, BootId, Clock, ClockState, Datum, GatewayId, Health, Lane, Loss, LossReason, Losses, Place,
    Quality, QuantityCode, Reading, SensorName, Series,
};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The store all test gateways count in.
pub const STORE: u64 = 0x5707;
/// Since the start of the box, when the first reading of a frame was taken.
pub const FIRST_MS: u64 = 1_000_000;
/// `air-temperature` in the catalogue.
pub const AIR_TEMPERATURE: QuantityCode = QuantityCode(1);

/// Settings that fit a test: free ports, data in `folder`.
pub fn config(folder: &Path) -> Config {
    let mut config = Config::with_data(folder.join("data")).unwrap();
    config.intake = Intake::Embedded(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.http = SocketAddr::from(([127, 0, 0, 1], 0));
    config.mqtt_threads = 2;
    config.engine.segment_bytes = 1 << 20;
    config
}

/// A running ingest in a folder of its own.
pub struct City {
    pub folder: TempDir,
    pub server: Server,
}

impl City {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let server = Server::start(config).await.unwrap_or_else(|error: ServeError| panic!("{error}"));
        Self { folder, server }
    }

    /// Stops and starts again with the same data.
    pub async fn restarted(self) -> Self {
        self.server.stop().await.unwrap();
        let server = Server::start(config(self.folder.path())).await.unwrap();
        Self { folder: self.folder, server }
    }

    pub fn mqtt(&self) -> SocketAddr {
        self.server.mqtt_addr.unwrap()
    }

    pub fn http(&self) -> SocketAddr {
        self.server.http_addr
    }

    /// The JSON body of a question that must be answered 200.
    pub async fn get(&self, path: &str) -> Value {
        let answer = ask(self.http(), "GET", path, &[], b"").await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The body of an answer that is no JSON.
    pub async fn get_text(&self, path: &str) -> String {
        let answer = ask(self.http(), "GET", path, &[], b"").await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.text()
    }

    /// Asks until the answer pleases; the pool follows the acknowledgement by a moment.
    pub async fn until(&self, path: &str, pleases: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = ask(self.http(), "GET", path, &[], b"").await;
            if answer.status == 200 && pleases(&answer.json()) {
                return answer.json();
            }
            assert!(Instant::now() < deadline, "GET {path} never became right, last: {}", answer.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn stop(self) {
        self.server.stop().await.unwrap();
    }
}

/// An answer by HTTP.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// One request on a connection of its own.
pub async fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        request += &format!("host: {addr}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that refuses early may close before it has read a large body.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "{method} {path}: no end of the answer");
    let end = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("{method} {path}: no answer"));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// A client with a client id, as a gateway is one.
pub struct Client {
    pub client: AsyncClient,
    task: JoinHandle<()>,
}

impl Client {
    pub fn new(addr: SocketAddr, id: &str) -> Self {
        let mut options = MqttOptions::new(id, (addr.ip().to_string(), addr.port()));
        options.set_clean_start(true).set_keep_alive(20).set_max_packet_size(Some(256 * 1024));
        let (client, mut events) = AsyncClient::builder(options).capacity(512).build();
        let task = tokio::spawn(async move {
            loop {
                if events.poll().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
        Self { client, task }
    }

    /// Publishes at QoS 1 and waits for the PUBACK.
    pub async fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), PubAckReason> {
        let options = PublishOptions::at_least_once();
        let notice = self.client.publish_tracked(topic, payload.to_vec(), options).await.unwrap();
        match tokio::time::timeout(PATIENCE, notice.wait_completion_async()).await.unwrap() {
            Ok(()) => Ok(()),
            Err(PublishNoticeError::V5PubAck(reason)) => Err(reason),
            Err(error) => panic!("{error}"),
        }
    }

    /// Publishes at QoS 0.
    pub async fn mention(&self, topic: &str, payload: &[u8]) {
        let options = PublishOptions::new(QoS::AtMostOnce);
        let notice = self.client.publish_tracked(topic, payload.to_vec(), options).await.unwrap();
        notice.wait_completion_async().await.unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn now_ms() -> i64 {
    ingest::clock::now_ms()
}

pub fn place() -> Place {
    Place::new(30.6598, 104.0266, Datum::Wgs84, Area::new("chengdu/qingyang/caotang").unwrap()).unwrap()
}

/// The topic of a lane.
pub fn up(gateway: &str, lane: Lane) -> String {
    wire::topic::up(&GatewayId::new(gateway).unwrap(), lane)
}

/// A frame of readings of one sensor, one second apart, the last one now.
pub fn readings(gateway: &str, sequence: u64, values: &[f64]) -> Vec<u8> {
    readings_until(gateway, sequence, values, now_ms())
}

/// The same with the last reading at `until_ms`.
pub fn readings_until(gateway: &str, sequence: u64, values: &[f64], until_ms: i64) -> Vec<u8> {
    let span = (values.len() as i64 - 1) * 1000;
    let epoch_ms = until_ms - span - FIRST_MS as i64;
    readings_under(gateway, sequence, FIRST_MS, values, Clock { state: ClockState::Synchronised, epoch_ms })
}

/// The same, one second apart from a monotonic time on, under a clock that may be wrong.
pub fn readings_under(gateway: &str, sequence: u64, from_ms: u64, values: &[f64], clock: Clock) -> Vec<u8> {
    let batch = Batch {
        boot: BootId(1),
        clock,
        places: vec![place()],
        series: vec![Series {
            sensor: SensorName::new("hall.t").unwrap(),
            quantity: AIR_TEMPERATURE,
            place: 0,
        }],
        readings: (values.iter().enumerate())
            .map(|(n, value)| Reading {
                series: 0,
                mono_ms: from_ms + 1000 * n as u64,
                value: Some(*value),
                quality: Quality::Good,
            })
            .collect(),
    };
    frame(gateway, sequence, Payload::Readings(batch))
}

/// A frame with one alarm event.
pub fn alarm(gateway: &str, sequence: u64, kind: AlarmKind) -> Vec<u8> {
    let event = AlarmEvent {
        episode: 7,
        rule: "hall-hot".into(),
        rule_version: 1,
        kind,
        level: Level::Orange,
        sensor: SensorName::new("hall.t").unwrap(),
        quantity: AIR_TEMPERATURE,
        place: place(),
        mono_ms: 1000 * sequence,
        value: Some(71.5),
        quality: Quality::Good,
        threshold: 60.0,
        measure: wire::Measure::Value,
        worst: Some(75.0),
        inputs: vec![Input {
            sensor: SensorName::new("hall.t").unwrap(),
            quantity: AIR_TEMPERATURE,
            value: None,
            quality: Quality::Fault,
            mono_ms: 1000 * sequence - 400,
            alarming: true,
        }],
    };
    let clock = Clock { state: ClockState::Synchronised, epoch_ms: now_ms() - 1000 * sequence as i64 };
    frame(gateway, sequence, Payload::Alarms(Alarms { boot: BootId(1), clock, events: vec![event] }))
}

/// A health message: one gauge of the catalogue, one of a bus, and one that no catalogue knows.
pub fn health_frame(gateway: &str, sequence: u64) -> Vec<u8> {
    let clock = Clock { state: ClockState::Synchronised, epoch_ms: now_ms() };
    let gauges = [("buffer.hours_left", 52.5), ("bus.i2c-1.errors", 3.0), ("warp.factor", 9.0)];
    let gauges = gauges.map(|(name, value)| (name.to_owned(), value)).to_vec();
    frame(gateway, sequence, Payload::Health(Health { boot: BootId(1), clock, mono_ms: 0, gauges }))
}

/// A report that readings 7 to 9 gave way to newer ones.
pub fn loss_frame(gateway: &str, sequence: u64) -> Vec<u8> {
    let clock = Clock { state: ClockState::Synchronised, epoch_ms: now_ms() };
    let reason = LossReason::Quota;
    let loss = Loss { lane: Lane::Reading, from: 7, to: 9, count: 3000, reason, mono_ms: 0 };
    frame(gateway, sequence, Payload::Losses(Losses { boot: BootId(1), clock, losses: vec![loss] }))
}

/// A frame of one gateway.
pub fn frame(gateway: &str, sequence: u64, payload: Payload) -> Vec<u8> {
    let gateway = GatewayId::new(gateway).unwrap();
    Frame { gateway, store: STORE, sequence, payload }.encode(Codec::Zstd).unwrap()
}
