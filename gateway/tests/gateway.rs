//! A whole gateway on a simulated board, over real sockets, against a broker whose answers each test scripts.

#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gateway::status::Status;
use tempfile::TempDir;
use wire::{AlarmKind, Frame, Lane, Payload, Receipt, Verdict};

#[allow(dead_code, reason = "each test program uses its part of it")]
mod broker;
#[allow(dead_code, reason = "each test program uses its part of it")]
mod hall;

use broker::{Broker, Say};
use hall::{Running, config};

fn status(data: &Path) -> Status {
    Status::read(data).expect("written each second")
}

/// Waits until `holds`, for ten seconds at most.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

#[test]
fn readings_travel_and_what_is_acknowledged_is_forgotten() {
    let (broker, data) = (Broker::start(), TempDir::new().unwrap());
    let running = Running::start(config(&broker, data.path(), ""));

    let first = broker.next(Lane::Health);
    assert_eq!(first.topic, "wf/1/gw-1/up/health");
    let Payload::Announcement(announced) = first.frame().payload else {
        panic!("it introduces itself first")
    };
    assert_eq!(announced.board, "simulated");
    assert_eq!(announced.sensors.iter().map(|s| s.sensor.as_str()).collect::<Vec<_>>(), ["hall.h", "hall.t"]);

    let mut sequences = Vec::new();
    for _ in 0..5 {
        let frame = broker.next(Lane::Reading).frame();
        let Payload::Readings(batch) = frame.payload else { panic!("readings") };
        assert_eq!(batch.boot, announced.boot);
        assert!(batch.readings.iter().all(|r| r.value.is_some()), "a sound sensor");
        sequences.push(frame.sequence);
    }
    assert_eq!(sequences, [1, 2, 3, 4, 5]);

    let mut last = 5;
    let mut publishes =
        std::iter::repeat_with(|| broker.published.recv_timeout(Duration::from_secs(20)).expect("health"));
    let health = publishes.find_map(|p| {
        if p.lane() == Lane::Reading {
            last = p.frame().sequence;
        }
        match p.frame().payload {
            Payload::Health(health) => Some(health),
            _ => None,
        }
    });
    let (gauges, catalogue) = (health.unwrap().gauges, configs::Gauges::builtin());
    for name in
        ["backlog.reading", "buffer.waiting.bytes", "clock.state", "disk.free.bytes", "process.starts"]
    {
        assert!(gauges.iter().any(|(given, _)| given == name), "{name} is missing in {gauges:?}");
    }
    let nameless: Vec<_> = gauges.iter().filter(|(name, _)| catalogue.get(name).is_none()).collect();
    assert!(nameless.is_empty(), "not in configs/gauges.toml: {nameless:?}");
    until("status", || Status::read(data.path()).is_ok_and(|s| s.online && s.durable > 5));
    let before_stop = status(data.path());
    assert!(before_stop.backlog.iter().all(|(_, frames)| *frames <= 1), "{:?}", before_stop.backlog);
    assert_eq!((before_stop.blob_files, before_stop.refused), (0, 0));
    running.stop();

    // All was acknowledged, so nothing is sent again; numbers go on.
    let last = std::iter::from_fn(|| broker.published.try_recv().ok())
        .filter(|p| p.lane() == Lane::Reading)
        .last()
        .map_or(last, |p| p.frame().sequence);
    let running = Running::start(config(&broker, data.path(), ""));
    assert_eq!(broker.next(Lane::Reading).frame().sequence, last + 1);
    running.stop();
}

#[test]
fn a_withheld_acknowledgement_keeps_everything_and_the_same_bytes_come_again() {
    let (broker, data) = (Broker::start(), TempDir::new().unwrap());
    broker.script(|_| Say::Silence);
    let running = Running::start(config(&broker, data.path(), ""));
    let mut first: BTreeMap<(String, u64), Vec<u8>> = BTreeMap::new();
    let mut again = 0;
    while again < 10 {
        let publish = broker.published.recv_timeout(Duration::from_secs(20)).expect("it tries again");
        let key = (publish.topic.clone(), publish.frame().sequence);
        if publish.connection == 0 {
            assert!(first.insert(key, publish.payload).is_none(), "one connection, one sending");
        } else if let Some(bytes) = first.get(&key) {
            assert_eq!(*bytes, publish.payload, "the buffer's bytes, unchanged");
            again += 1;
        }
    }
    let readings = first.keys().filter(|(topic, _)| topic.ends_with("reading")).count();
    assert!(readings <= 16, "the window of the lane holds: {readings}");
    let kept = status(data.path());
    let backlog = kept.backlog.iter().find(|(lane, _)| *lane == Lane::Reading).unwrap().1;
    assert!(backlog >= readings as u64 && kept.durable == 0, "{kept:?}");
    running.stop();

    // After a restart with a broker that works, everything arrives, each number once.
    broker.script(|_| Say::Ack(0));
    let running = Running::start(config(&broker, data.path(), ""));
    while broker.published.try_recv().is_ok() {}
    until("drained", || {
        Status::read(data.path()).is_ok_and(|s| s.uptime_ms < 60_000 && s.durable >= backlog)
    });
    running.stop();
}

#[test]
fn a_hang_up_in_mid_flight_loses_nothing_and_alarms_go_first() {
    let (broker, data) = (Broker::start(), TempDir::new().unwrap());
    let mut count = 0;
    broker.script(move |publish| {
        count += 1;
        if publish.lane() == Lane::Reading && count % 4 == 0 { Say::HangUp } else { Say::Ack(0) }
    });
    // Cooler than the street ever is: raised at the first reading.
    let rule = "[[rule]]\nname = 'not frozen'\nsensor = 'hall.t'\nabove = -40\nlevel = 'blue'\n";
    let running = Running::start(config(&broker, data.path(), rule));
    let alarm = broker.next(Lane::Alarm).frame();
    let Payload::Alarms(alarms) = alarm.payload else { panic!("alarms") };
    assert_eq!((alarms.events[0].kind, alarms.events[0].rule.as_str()), (AlarmKind::Raised, "not frozen"));
    let mut acknowledged = 0;
    let mut connections = 0;
    while acknowledged < 12 {
        let publish = broker.next(Lane::Reading);
        let sequence = publish.frame().sequence;
        assert!(sequence <= acknowledged + 17, "nothing is skipped");
        acknowledged = acknowledged.max(sequence);
        connections = connections.max(publish.connection);
    }
    assert!(connections >= 2, "it was hung up on");
    running.stop();

    let running = Running::start(config(&broker, data.path(), rule));
    broker.script(|_| Say::Ack(0));
    until("readings go on", || broker.next(Lane::Reading).frame().sequence > acknowledged);
    let raised_again = std::iter::from_fn(|| broker.published.try_recv().ok())
        .any(|p| p.lane() == Lane::Alarm && p.frame().sequence > alarm.sequence);
    assert!(!raised_again, "an alarm that stands is not raised a second time after a restart");
    running.stop();
}

#[test]
fn what_is_refused_for_good_is_set_aside_and_what_is_refused_for_now_comes_again() {
    let (broker, data) = (Broker::start(), TempDir::new().unwrap());
    let mut quota = 3;
    broker.script(move |publish| {
        match (publish.lane() == Lane::Reading, Frame::decode(&publish.payload).unwrap().sequence) {
            (true, 2) => Say::Ack(0x99),
            (true, 3) if quota > 0 => {
                quota -= 1;
                Say::Ack(0x97)
            }
            _ => Say::Ack(0),
        }
    });
    let running = Running::start(config(&broker, data.path(), ""));
    let mut times = BTreeMap::new();
    let mut losses = Vec::new();
    while !times.contains_key(&8) || losses.is_empty() || times.get(&3) < Some(&4) {
        let frame = broker.published.recv_timeout(Duration::from_secs(10)).expect("a publish").frame();
        match frame.payload {
            Payload::Readings(_) => *times.entry(frame.sequence).or_insert(0) += 1,
            Payload::Losses(found) => losses.extend(found.losses),
            _ => {}
        }
        assert!(frame.sequence < 100, "{times:?} {losses:?}");
    }
    assert_eq!((times[&1], times[&2], times[&3]), (1, 1, 4), "{times:?}");
    let [loss] = &losses[..] else { panic!("{losses:?}") };
    assert_eq!(
        (loss.lane, loss.from, loss.to, loss.reason),
        (Lane::Reading, 2, 2, wire::LossReason::Refused)
    );
    assert!(loss.count > 0);
    until("counted", || Status::read(data.path()).is_ok_and(|s| (s.set_aside, s.refused) == (1, 1)));
    running.stop();
}

#[test]
fn with_receipts_only_the_word_of_ingest_counts() {
    let (broker, data) = (Broker::start(), TempDir::new().unwrap());
    let mut config = config(&broker, data.path(), "");
    config.receipts = true;
    let running = Running::start(config);
    let frame = broker.next(Lane::Reading).frame();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(status(data.path()).durable, 0, "the broker's acknowledgement is not enough");
    let receipt =
        Receipt { store: frame.store, lane: Lane::Reading, sequences: vec![1], verdict: Verdict::Durable };
    broker.send("wf/1/gw-1/down/receipt", b"nonsense is ignored");
    broker.send("wf/1/gw-1/down/receipt", &receipt.encode());
    until("forgotten", || status(data.path()).durable == 1);
    running.stop();
}

#[test]
fn without_a_broker_it_gathers_and_what_it_gathered_arrives_in_order() {
    let data = TempDir::new().unwrap();
    let broker = Broker::start();
    let mut lost = config(&broker, data.path(), "");
    // A port where nobody listens: it was free a moment ago.
    lost.broker.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let running = Running::start(lost);
    until("a backlog", || {
        Status::read(data.path())
            .is_ok_and(|s| !s.online && !s.trouble.is_empty() && s.backlog.iter().any(|(_, n)| *n > 5))
    });
    running.stop();

    let running = Running::start(config(&broker, data.path(), ""));
    let sequences: Vec<u64> = (0..8).map(|_| broker.next(Lane::Reading).frame().sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6, 7, 8]);
    running.stop();
}

#[test]
fn a_data_folder_in_use_is_a_start_error() {
    let (broker, data) = (Broker::start(), TempDir::new().unwrap());
    let running = Running::start(config(&broker, data.path(), ""));
    broker.next(Lane::Health);
    let second = Running::start(config(&broker, data.path(), ""));
    let error = second.ended().expect_err("the folder is taken").to_string();
    assert!(error.contains("in use by another gateway"), "{error}");
    running.stop();
}
