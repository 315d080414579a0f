//! Fills a buffer as a day without network does, in virtual time, for `benches/edge/outage`.
//!
//! It speaks to the buffer only: sensors at 1 Hz in batches of five seconds, an alarm event a minute, a message of
//! health each half minute. Sampling, judging and shipping are not in it; a real gateway ships what lies there afterwards.
//! Prints what it gave the buffer, as JSON.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway::buffer;
use gateway::clock::Stamp;
use wire::{
    AlarmEvent, AlarmKind, Alarms, Area, Batch, BootId, Clock, ClockState, Datum, GatewayId, Health, Level,
    Measure, Payload, Place, Quality, QuantityCode, Reading, SensorName, Series,
};

const DAY_S: u64 = 86_400;
const BATCH_S: u64 = 5;
const ALARM_EVERY_S: u64 = 60;
const HEALTH_EVERY_S: u64 = 30;
const SEED: u64 = 24;
/// `air-temperature` in the catalogue.
const AIR_TEMPERATURE: QuantityCode = QuantityCode(1);
const BOOT: BootId = BootId(24);

/// The street that the day is made of.
struct Street {
    place: Place,
    names: Vec<SensorName>,
    degrees: Vec<f64>,
    random: fastrand::Rng,
    clock: Clock,
}

impl Street {
    fn batch(&mut self, from_s: u64) -> Payload {
        let series = |name: &SensorName| Series { sensor: name.clone(), quantity: AIR_TEMPERATURE, place: 0 };
        let mut readings = Vec::new();
        for second in from_s..from_s + BATCH_S {
            for sensor in 0..self.names.len() {
                // Hundredths of a degree that wander: what a fair sensor in a restless street says.
                let step = f64::from(self.random.i32(-30..=30)) / 100.0;
                let degrees = (self.degrees[sensor] + step).clamp(5.0, 35.0);
                self.degrees[sensor] = (degrees * 100.0).round() / 100.0;
                readings.push(Reading {
                    series: sensor as u16,
                    mono_ms: second * 1000 + sensor as u64,
                    value: Some(self.degrees[sensor]),
                    quality: Quality::Good,
                });
            }
        }
        Payload::Readings(Batch {
            boot: BOOT,
            clock: self.clock,
            places: vec![self.place.clone()],
            series: self.names.iter().map(series).collect(),
            readings,
        })
    }

    fn alarm(&self, second: u64) -> Payload {
        let raised = (second / ALARM_EVERY_S).is_multiple_of(2);
        let event = AlarmEvent {
            episode: second / ALARM_EVERY_S / 2 + 1,
            rule: "hot".into(),
            rule_version: 1,
            kind: if raised { AlarmKind::Raised } else { AlarmKind::Cleared },
            level: Level::Red,
            sensor: self.names[0].clone(),
            quantity: AIR_TEMPERATURE,
            place: self.place.clone(),
            mono_ms: second * 1000,
            value: Some(34.0),
            quality: Quality::Good,
            threshold: 33.0,
            measure: Measure::Value,
            worst: None,
            inputs: Vec::new(),
        };
        Payload::Alarms(Alarms { boot: BOOT, clock: self.clock, events: vec![event] })
    }

    fn health(&self, second: u64) -> Payload {
        let gauges = vec![("uptime.s".into(), second as f64)];
        Payload::Health(Health { boot: BOOT, clock: self.clock, mono_ms: second * 1000, gauges })
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the result")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, gateway, quota_bytes, sensors] = arguments.as_slice() else {
        eprintln!("usage: outage DATA_FOLDER GATEWAY QUOTA_BYTES SENSORS");
        return Ok(ExitCode::from(64));
    };
    let (data, gateway, sensors) = (PathBuf::from(data), GatewayId::new(gateway)?, sensors.parse::<u64>()?);
    // The day ends now, so that ingest finds its times believable.
    let epoch_ms = jiff::Timestamp::now().as_millisecond() - (DAY_S * 1000) as i64;
    let clock = Clock { state: ClockState::Synchronised, epoch_ms };
    let mono_ms = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&mono_ms);
    let stamp = move || Stamp { boot: BOOT, clock, mono_ms: told.load(Ordering::Relaxed) };
    let opened = buffer::open(&data, &gateway, quota_bytes.parse()?, stamp)?;
    let names = (0..sensors).map(|n| SensorName::new(&format!("day-{n}"))).collect::<Result<_, _>>()?;
    let mut street = Street {
        place: Place::new(30.66, 104.05, Datum::Wgs84, Area::unknown())?,
        names,
        degrees: vec![20.0; sensors as usize],
        random: fastrand::Rng::with_seed(SEED),
        clock,
    };
    let (mut readings, mut alarms, mut most_bytes) = (0, 0, 0);
    for second in (0..DAY_S).step_by(BATCH_S as usize) {
        mono_ms.store((second + BATCH_S) * 1000, Ordering::Relaxed);
        let keep = |payload| opened.buffer.keep_blocking(payload, Vec::new());
        let mut payloads = vec![street.batch(second)];
        readings += sensors * BATCH_S;
        if second % ALARM_EVERY_S == 0 {
            payloads.push(street.alarm(second));
            alarms += 1;
        }
        if second % HEALTH_EVERY_S == 0 {
            payloads.push(street.health(second));
        }
        tokio::task::block_in_place(|| payloads.into_iter().try_for_each(keep))?;
        if second % ALARM_EVERY_S == 0 {
            // So that virtual time does not run ahead of the disk.
            opened.buffer.flush().await?;
            most_bytes = most_bytes.max(opened.buffer.gauges().store_bytes.load(Ordering::Relaxed));
        }
    }
    opened.buffer.flush().await?;
    let gauges = opened.buffer.gauges();
    let (thinned, lost_frames) =
        (gauges.thinned.load(Ordering::Relaxed), gauges.lost_frames.load(Ordering::Relaxed));
    opened.buffer.stop().await;
    opened.thread.join().map_err(|_| "the buffer's thread panicked")?;
    println!(
        "{{\"readings\":{readings},\"alarms\":{alarms},\"thinned\":{thinned},\"lost_frames\":{lost_frames},\"most_bytes\":{most_bytes}}}"
    );
    Ok(ExitCode::SUCCESS)
}
