//! One example of everything that travels, shared by the tests of this crate.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use wire::*;

pub fn place(lat: f64, lon: f64) -> Place {
    Place::new(lat, lon, Datum::Wgs84, Area::new("chengdu/qingyang/caotang").unwrap()).unwrap()
}

pub fn clock() -> Clock {
    Clock { state: ClockState::Synchronised, epoch_ms: 1_790_000_000_000 }
}

pub fn sensor(name: &str) -> SensorName {
    SensorName::new(name).unwrap()
}

/// Two series: one in hundredths with a fault in between, one that no decimal scale fits.
pub fn batch() -> Batch {
    let series = vec![
        Series { sensor: sensor("hall.temperature"), quantity: QuantityCode(1), place: 0 },
        Series { sensor: sensor("river.level"), quantity: QuantityCode(100), place: 1 },
    ];
    let mut readings = Vec::new();
    for step in 0..6_u64 {
        let fault = step == 3;
        readings.push(Reading {
            series: 0,
            mono_ms: 5_000 + step * 1_000 + u64::from(step == 4),
            value: (!fault).then_some(21.25 + step as f64 * 0.01),
            quality: if fault { Quality::Fault } else { Quality::Good },
        });
    }
    for step in 0..3_u64 {
        readings.push(Reading {
            series: 1,
            mono_ms: 5_500 + step * 2_000,
            value: Some(1.0 / (3.0 + step as f64)),
            quality: Quality::Suspect,
        });
    }
    Batch {
        boot: BootId(0x0123_4567_89ab_cdef),
        clock: clock(),
        places: vec![place(30.66, 104.05), place(30.67, 104.06)],
        series,
        readings,
    }
}

/// Twelve numbered devices of a kind that speak once each, as in a street of smoke detectors.
pub fn street() -> Batch {
    let name = |device: u16| sensor(&format!("smoke.{:04}", 6 * device + 90));
    let series = |device| Series { sensor: name(device), quantity: QuantityCode(200), place: device % 2 };
    let reading = |series: u16| Reading {
        series,
        mono_ms: 5_000 + u64::from(series) * 15,
        value: Some(f64::from(series) / 4.0),
        quality: Quality::Good,
    };
    Batch { series: (0..12).map(series).collect(), readings: (0..12).map(reading).collect(), ..batch() }
}

pub fn payloads() -> Vec<(&'static str, Payload)> {
    let boot = BootId(42);
    vec![
        ("readings", Payload::Readings(batch())),
        (
            "alarms",
            Payload::Alarms(Alarms {
                boot,
                clock: clock(),
                events: vec![AlarmEvent {
                    episode: 9,
                    rule: "kiln-hot".into(),
                    rule_version: 3,
                    kind: AlarmKind::Raised,
                    level: Level::Red,
                    sensor: sensor("kiln.temperature"),
                    quantity: QuantityCode(1),
                    place: place(30.66, 104.05),
                    mono_ms: 77_000,
                    value: Some(68.5),
                    quality: Quality::Good,
                    threshold: 60.0,
                    measure: Measure::Value,
                    worst: None,
                    inputs: vec![],
                }],
            }),
        ),
        (
            "announcement",
            Payload::Announcement(Announcement {
                boot,
                clock: clock(),
                mono_ms: 12,
                version: "0.1.0".into(),
                board: "simulated".into(),
                place: place(30.66, 104.05),
                sensors: vec![SensorInfo {
                    sensor: sensor("kiln.temperature"),
                    quantity: QuantityCode(1),
                    place: place(30.66, 104.05),
                    chip: "sht4x".into(),
                    label: "窑炉温度".into(),
                    every_ms: 1_000,
                }],
            }),
        ),
        (
            "health",
            Payload::Health(Health {
                boot,
                clock: clock(),
                mono_ms: 30_000,
                gauges: vec![("backlog.reading".into(), 3.0), ("store.bytes".into(), 10_485_760.0)],
            }),
        ),
        ("readings-counted", Payload::Readings(street())),
        (
            "losses",
            Payload::Losses(Losses {
                boot,
                clock: clock(),
                losses: vec![Loss {
                    lane: Lane::Reading,
                    from: 7,
                    to: 9,
                    count: 1_500,
                    reason: LossReason::Quota,
                    mono_ms: 31_000,
                }],
            }),
        ),
        (
            "envelopes",
            Payload::Envelopes(Envelopes { envelopes: vec![vec![0xd8, 0x62, 0x84], vec![7; 300]] }),
        ),
        (
            "picture",
            Payload::Picture(PicturePart {
                digest: [9; 32],
                total: 70_000,
                offset: 24_576,
                bytes: vec![0xff, 0xd8, 1],
            }),
        ),
        ("alarms-inputs", Payload::Alarms(Alarms { boot, clock: clock(), events: explained() })),
    ]
}

/// A confirmed fire that goes on while one detector is dead, and a fall of pressure.
fn explained() -> Vec<AlarmEvent> {
    let input = |name, quantity, value: Option<f64>, alarming| Input {
        sensor: sensor(name),
        quantity: QuantityCode(quantity),
        value,
        quality: if value.is_some() { Quality::Good } else { Quality::Fault },
        mono_ms: 76_500,
        alarming,
    };
    let fire = AlarmEvent {
        episode: 10,
        rule: "fire".into(),
        rule_version: 0xdead_beef,
        kind: AlarmKind::Repeated,
        level: Level::Red,
        sensor: sensor("kiln.temperature"),
        quantity: QuantityCode(1),
        place: place(30.66, 104.05),
        mono_ms: 77_000,
        value: Some(2.0),
        quality: Quality::Good,
        threshold: 2.0,
        measure: Measure::Agreeing,
        worst: Some(3.0),
        inputs: vec![
            input("kiln.temperature", 1, Some(68.5), true),
            input("kiln.smoke", 200, None, true),
            input("kiln.co", 201, Some(12.0), false),
        ],
    };
    let fall = AlarmEvent {
        episode: 11,
        rule: "hydrant.falls".into(),
        kind: AlarmKind::Raised,
        level: Level::Yellow,
        sensor: sensor("hydrant"),
        quantity: QuantityCode(205),
        value: Some(-61.5),
        threshold: -50.0,
        measure: Measure::Rise { over_ms: 60_000 },
        worst: Some(-61.5),
        inputs: vec![input("hydrant", 205, Some(350.0), true)],
        ..fire.clone()
    };
    vec![fire, fall]
}

pub fn frame(payload: Payload) -> Frame {
    Frame { gateway: GatewayId::new("caotang-03").unwrap(), store: 0xfeed_beef, sequence: 258, payload }
}

pub fn codecs() -> Vec<Codec> {
    let mut codecs = vec![Codec::Plain, Codec::Lz4];
    if cfg!(feature = "zstd") {
        codecs.push(Codec::Zstd);
    }
    codecs
}
