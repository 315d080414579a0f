//! The event stream: alarms at once, resumed where it broke, bounded in number.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::Lane;
use wire::alarm::AlarmKind;

use crate::vocabulary::*;

/// A listener that reads a stream event by event.
pub struct Stream {
    socket: TcpStream,
    text: String,
    ready: VecDeque<(String, String, Value)>,
}

impl Stream {
    pub async fn open(city: &City, query: &str, last: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(city.http()).await.unwrap();
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /api/v1/events{query} HTTP/1.1\r\nhost: localhost\r\n{last}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { socket, text: String::new(), ready: VecDeque::new() };
        while !stream.text.contains("\r\n\r\n") {
            assert!(stream.read().await, "no head: {}", stream.text);
        }
        assert!(stream.text.starts_with("HTTP/1.1 200"), "{}", stream.text);
        assert!(stream.text.to_lowercase().contains("content-type: text/event-stream"), "{}", stream.text);
        stream
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match tokio::time::timeout(PATIENCE, self.socket.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => false,
            Ok(Ok(n)) => {
                self.text.push_str(&String::from_utf8_lossy(&bytes[..n]));
                true
            }
            Err(_) => panic!("no event came; so far: {}", self.text),
        }
    }

    /// Kind, id and data of the next event; `None` when the stream ended.
    pub async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            // Chunk lengths stand on lines of their own, so lines can be read as they are.
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    block.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
                };
                if let (Some(kind), Some(id), Some(data)) = (field("event"), field("id"), field("data")) {
                    self.ready.push_back((kind, id, serde_json::from_str(&data).unwrap()));
                }
            }
            if self.ready.is_empty() && !self.read().await {
                return None;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_heard_and_a_broken_line_goes_on_where_it_broke() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let topic = up("caotang-03", Lane::Alarm);
    let mut stream = Stream::open(&city, "?topics=alarm", None).await;
    assert_eq!(gateway.publish(&topic, &alarm("caotang-03", 1, AlarmKind::Raised)).await, Ok(()));
    let (kind, _, data) = stream.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), &data["level"], &data["state"]),
        ("alarm", &json!("orange"), &json!("active"))
    );
    assert_eq!(data["sensor"], json!("caotang-03:hall.t"));
    // The event is the same thing as the list shows.
    assert_eq!(city.get("/api/v1/alarms").await["items"][0], data);
    let input = &data["inputs"][0];
    assert_eq!(
        (&input["sensor"], &input["value"], &input["quality"], &input["unit"]),
        (&json!("caotang-03:hall.t"), &json!(null), &json!("fault"), &json!("Cel"))
    );
    assert_eq!(data["raised_ms"].as_i64().unwrap() - input["at_ms"].as_i64().unwrap(), 400);

    // It goes on and says so: the same alarm, not a second one.
    assert_eq!(gateway.publish(&topic, &alarm("caotang-03", 2, AlarmKind::Repeated)).await, Ok(()));
    let (_, id, again) = stream.next().await.unwrap();
    assert_eq!((&again["id"], &again["state"]), (&data["id"], &json!("active")));
    assert_eq!((&data["repeated_ms"], &again["repeated_ms"]), (&json!(null), &again["last_ms"]));
    assert_eq!(city.get("/api/v1/alarms").await["items"], json!([again]));
    drop(stream);

    // While nobody listens the alarm becomes blind and clears; the listener comes back and misses nothing.
    for (sequence, kind) in [(3, AlarmKind::Blind), (4, AlarmKind::Seeing), (5, AlarmKind::Cleared)] {
        assert_eq!(gateway.publish(&topic, &alarm("caotang-03", sequence, kind)).await, Ok(()));
    }
    city.until("/api/v1/alarms", |v| v["items"] == json!([])).await;
    let mut stream = Stream::open(&city, "?topics=alarm", Some(&id)).await;
    let mut states = Vec::new();
    while states.last() != Some(&json!("cleared")) {
        let (kind, _, data) = stream.next().await.unwrap();
        assert_eq!(kind, "alarm");
        states.push(data["state"].clone());
    }
    assert!(states.contains(&json!("blind")), "{states:?}");
    assert_eq!(city.get("/api/v1/alarms?state=all").await["items"][0]["state"], json!("cleared"));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_run_gets_a_reset() {
    let city = City::start().await;
    let mut stream = Stream::open(&city, "", Some("0123456789abcdef-5")).await;
    let (kind, id, _) = stream.next().await.unwrap();
    assert_eq!(kind, "reset");
    // From there on it goes on like any other.
    let gateway = Client::new(city.mqtt(), "caotang-03");
    assert_eq!(
        gateway.publish(&up("caotang-03", Lane::Reading), &readings("caotang-03", 1, &[20.0])).await,
        Ok(())
    );
    let mut kinds = std::collections::BTreeSet::new();
    while kinds.len() < 2 {
        let (kind, next, data) = stream.next().await.unwrap();
        assert_ne!(next, id);
        if kind == "cells" {
            assert_eq!(
                (&data["quantity"], &data["cells"][0]["count"]),
                (&json!("air-temperature"), &json!(1))
            );
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["cells", "gateway"]);
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_end_with_the_service() {
    let city = City::with(|config| config.streams = 1).await;
    let mut stream = Stream::open(&city, "", None).await;
    let refused = ask(city.http(), "GET", "/api/v1/events", &[], b"").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")), "{}", refused.text());
    let strange = ask(city.http(), "GET", "/api/v1/events?topics=alarms", &[], b"").await;
    assert_eq!(strange.status, 400, "{}", strange.text());
    let began = std::time::Instant::now();
    city.stop().await;
    assert!(began.elapsed().as_secs() < 8, "an open stream must not delay a stop: {:?}", began.elapsed());
    assert!(stream.next().await.is_none());
}
