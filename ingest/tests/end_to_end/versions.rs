//! What the two versions of MQTT may and may not do, at the level of bytes.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::Lane;
use wire::alarm::AlarmKind;

use crate::events::Stream;
use crate::vocabulary::*;

/// Panics on the broker's threads, which its runtime contains and nobody would hear of.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics on the broker's threads from now on.
fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("mqtt-")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
}

/// A client of bytes.
struct Raw(TcpStream);

/// A packet: first byte and body.
type Packet = (u8, Vec<u8>);

impl Raw {
    async fn open(city: &City) -> Self {
        Self(TcpStream::connect(city.mqtt()).await.unwrap())
    }

    /// Connects with protocol level 4 (3.1.1) or 5.
    async fn connect(city: &City, level: u8, id: &str) -> (Self, Packet) {
        let mut raw = Self::open(city).await;
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 30];
        if level == 5 {
            body.push(0);
        }
        text(&mut body, id);
        raw.send(0x10, &body).await;
        let ack = raw.packet().await.unwrap();
        (raw, ack)
    }

    async fn send(&mut self, first: u8, body: &[u8]) {
        // A server that refuses may have closed by now.
        let _ = self.0.write_all(&packet(first, body)).await;
    }

    async fn publish(&mut self, level: u8, first: u8, topic: &str, payload: &[u8]) {
        let _ = self.0.write_all(&publication(level, first, 9, topic, payload)).await;
    }

    /// The next packet; `None` when the server closed.
    async fn packet(&mut self) -> Option<Packet> {
        let read = async {
            let first = self.0.read_u8().await.ok()?;
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.0.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.ok()?;
            Some((first, body))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("neither a packet nor an end")
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        bytes.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn publication(level: u8, first: u8, id: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    if first & 0x06 != 0 {
        body.extend([0, id]);
    }
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(first, &body)
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

const GOOD: &[u8] = br#"[{"n":"station/jinjiang-2/level","u":"m","v":3.42}]"#;
const BAD: &[u8] = br#"[{"n":"station/jinjiang-2/level","u":"Cel","v":3.42}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn version_3_takes_frames_and_packs() {
    let city = City::start().await;
    let (mut raw, ack) = Raw::connect(&city, 4, "caotang-03").await;
    assert_eq!(ack, (0x20, vec![0, 0]));
    raw.publish(4, 0x32, &up("caotang-03", Lane::Reading), &readings("caotang-03", 1, &[20.0])).await;
    assert_eq!(raw.packet().await, Some((0x40, vec![0, 9])));
    // It cannot be told "refused", but what was refused is held: acknowledged all the same.
    for pack in [GOOD, BAD] {
        raw.publish(4, 0x32, "senml/river-works", pack).await;
        assert_eq!(raw.packet().await, Some((0x40, vec![0, 9])));
    }
    let settled =
        |v: &serde_json::Value| (v["readings"]["accepted"].clone(), v["readings"]["quarantined"].clone());
    city.until("/api/v1/stats", |v| settled(v) == (json!(2), json!(1))).await;
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_is_disconnected_where_a_frame_is_refused() {
    let city = City::start().await;
    for (topic, payload) in [
        (up("caotang-03", Lane::Reading), b"junk".to_vec()),
        (up("other-01", Lane::Reading), readings("other-01", 1, &[20.0])),
        ("nonsense/topic".to_owned(), b"x".to_vec()),
    ] {
        let (mut raw, _) = Raw::connect(&city, 4, "caotang-03").await;
        raw.publish(4, 0x32, &topic, &payload).await;
        assert_eq!(raw.packet().await, None, "{topic}");
    }
    assert_eq!(city.get("/api/v1/stats").await["readings"]["accepted"], json!(0));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wildcards_qos_2_and_retained_messages_are_refused() {
    let city = City::start().await;
    for (first, topic) in [
        (0x32, "wf/1/+/up/reading"),
        (0x32, "senml/#"),
        (0x34, "senml/river-works"),
        (0x33, "senml/river-works"),
    ] {
        let (mut raw, ack) = Raw::connect(&city, 5, "caotang-03").await;
        assert_eq!((ack.0, ack.1[1]), (0x20, 0), "connected");
        raw.publish(5, first, topic, GOOD).await;
        let (kind, body) = raw.packet().await.unwrap();
        assert_eq!(kind, 0xe0, "{topic}: DISCONNECT expected");
        assert!(body[0] >= 0x80, "{topic}: {body:?}");
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_5_says_why() {
    let city = City::start().await;
    let (mut raw, _) = Raw::connect(&city, 5, "").await;
    raw.publish(5, 0x32, "senml/river-works", BAD).await;
    let (kind, body) = raw.packet().await.unwrap();
    assert_eq!((kind, &body[..3]), (0x40, &[0, 9, 0x99][..]));
    let reason = String::from_utf8_lossy(&body[3..]).into_owned();
    assert!(reason.contains("unit \"Cel\" does not measure water-level"), "{reason}");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_hears_its_own_topics_only() {
    let city = City::start().await;
    for (filter, granted) in [
        ("wf/1/caotang-03/down/receipt", true),
        ("wf/1/caotang-03/down/#", true),
        ("wf/1/other-01/down/receipt", false),
        ("wf/1/caotang-0/down/receipt", false),
        ("#", false),
        ("wf/1/+/down/receipt", false),
    ] {
        for level in [4, 5] {
            let (mut raw, _) = Raw::connect(&city, level, "caotang-03").await;
            let mut body = vec![0, 5];
            if level == 5 {
                body.push(0);
            }
            text(&mut body, filter);
            body.push(1);
            raw.send(0x82, &body).await;
            let (kind, body) = raw.packet().await.unwrap();
            assert_eq!(kind, 0x90);
            let expected = match (granted, level) {
                (true, _) => 1,
                (false, 5) => 0x87,
                (false, _) => 0x80,
            };
            assert_eq!(*body.last().unwrap(), expected, "{filter} at level {level}");
        }
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_takes_over() {
    let city = City::start().await;
    let (mut first, _) = Raw::connect(&city, 5, "caotang-03").await;
    let (mut second, _) = Raw::connect(&city, 5, "caotang-03").await;
    let (kind, body) = first.packet().await.unwrap();
    assert_eq!((kind, body[0]), (0xe0, 0x8e), "session taken over");
    assert_eq!(first.packet().await, None);
    second.send(0xc0, &[]).await;
    assert_eq!(second.packet().await, Some((0xd0, vec![])));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded() {
    let city = City::with(|config| config.mqtt_connections = 2).await;
    let kept = [Raw::connect(&city, 5, "a").await, Raw::connect(&city, 5, "b").await];
    let mut third = Raw::open(&city).await;
    third.send(0x10, &[0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 30, 0, 0, 1, b'c']).await;
    assert_eq!(third.packet().await, None);
    drop(kept);
    let deadline = std::time::Instant::now() + PATIENCE;
    while city.get_text("/metrics").await.contains("mqtt_connections 2") {
        assert!(std::time::Instant::now() < deadline, "places are given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, ack) = Raw::connect(&city, 5, "c").await;
    assert_eq!(ack.1[1], 0);
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_harm_nobody_else() {
    watch_for_panics();
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..300 {
        let mut raw = if round % 2 == 0 {
            Raw::open(&city).await
        } else {
            Raw::connect(&city, 4 + round as u8 / 2 % 2, "x").await.0
        };
        let length = random.usize(1..200);
        let junk: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        let _ = raw.0.write_all(&junk).await;
    }
    // A packet that announces 256 MiB is refused at its header.
    let (mut raw, _) = Raw::connect(&city, 5, "y").await;
    raw.0.write_all(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await.unwrap();
    // A publish whose topic is longer than the packet.
    for level in [4, 5] {
        let (mut raw, _) = Raw::connect(&city, level, "z").await;
        raw.0.write_all(&[0x32, 6, 0, 40]).await.unwrap();
        raw.0.write_all(&[b'x'; 400]).await.unwrap();
        let end = raw.packet().await;
        assert!(end.as_ref().is_none_or(|(kind, _)| *kind == 0xe0), "{level}: {end:?}");
    }
    let end = raw.packet().await;
    assert!(end.as_ref().is_none_or(|(kind, _)| *kind == 0xe0), "{end:?}");
    assert_eq!(
        gateway.publish(&up("caotang-03", Lane::Reading), &readings("caotang-03", 1, &[20.0])).await,
        Ok(())
    );
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(1)).await;
    city.stop().await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_a_hasty_goodbye_is_taken() {
    const FRAMES: u64 = 40;
    watch_for_panics();
    let city = City::start().await;
    for (round, level) in [4, 5, 4, 5].into_iter().enumerate() {
        let id = format!("hasty-{round}");
        let (mut raw, _) = Raw::connect(&city, level, &id).await;
        for sequence in 1..=FRAMES {
            raw.publish(level, 0x30, &up(&id, Lane::Reading), &readings(&id, sequence, &[20.0])).await;
        }
        if round < 2 {
            raw.send(0xe0, &[]).await;
        }
        drop(raw);
        let expected = json!(FRAMES * (round as u64 + 1));
        city.until("/api/v1/stats", |v| v["readings"]["accepted"] == expected).await;
    }
    city.stop().await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye() {
    let city = City::start().await;
    let (mut raw, _) = Raw::connect(&city, 5, "caotang-03").await;
    let began = std::time::Instant::now();
    city.stop().await;
    let (kind, body) = raw.packet().await.unwrap();
    assert_eq!((kind, body[0]), (0xe0, 0x8b), "server shutting down");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_comes_in_pieces_is_not_overtaken_by_its_end() {
    let city = City::start().await;
    for level in [4, 5] {
        let gateway = format!("caotang-{level:02}");
        let (mut raw, _) = Raw::connect(&city, level, &gateway).await;
        let mut stream = Stream::open(&city, "?topics=alarm", None).await;
        let [raised, cleared] = [(AlarmKind::Raised, 1), (AlarmKind::Cleared, 2)].map(|(kind, id)| {
            let frame = alarm(&gateway, u64::from(id), kind);
            publication(level, 0x32, id, &up(&gateway, Lane::Alarm), &frame)
        });
        let (most, tail) = raised.split_at(raised.len() - 7);
        raw.0.write_all(most).await.unwrap();
        // The server has begun with it by then.
        tokio::time::sleep(Duration::from_millis(200)).await;
        raw.0.write_all(&[tail, &cleared].concat()).await.unwrap();
        let mut states = Vec::new();
        while states.last() != Some(&json!("cleared")) {
            states.push(stream.next().await.unwrap().2["state"].clone());
        }
        assert_eq!(states, [json!("active"), json!("cleared")], "level {level}");
    }
    city.stop().await;
}
