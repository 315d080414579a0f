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
    ]
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
