//! The city minute: 22 million devices that report once a minute over MQTT, and what that takes of ingest.
//!
//! Every gateway has a connection of its own and sends what its devices said every ten seconds. One probe raises an
//! alarm now and then and hears it on the live stream, as a console would.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use benches::chengdu::{City, MAX_DEVICES, MINUTE_MS, PLACES, SLOT_MS, SLOTS};
use benches::city::SEED;
use benches::listener::{self, now_us};
use benches::mqtt::{self, Version};
use benches::process;
use clap::Parser;
use ingest::cell::Cell;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use wire::{
    AlarmEvent, AlarmKind, Alarms, BootId, Clock, ClockState, Codec, Datum, GatewayId, Lane, Level, Measure,
    Payload, Place, Quality, QuantityCode, SensorName, frame, topic,
};

/// Everybody connects within this time.
const CONNECT_MS: u64 = 10_000;
/// Pause after "later", and after a lost connection, in ms.
const AGAIN: Duration = Duration::from_millis(1_000);
/// Attempts of one frame before the run is given up.
const ATTEMPTS: u32 = 120;
/// How often an alarm is raised.
const PROBE: Duration = Duration::from_millis(250);
/// How long after the last alarm the stream is listened to.
const PROBE_END: Duration = Duration::from_secs(3);
/// Precision of the cells that windows are of.
const CELL: u8 = ingest::pool::windows::BASE_PRECISION;
/// Clock ticks a second in `/proc/PID/stat`: fixed on Linux.
const TICKS: f64 = 100.0;

/// Plays a city of Chengdu's size to an ingest on this machine, and reports what it took.
///
/// 在本机模拟成都规模的城市，向 ingest 发送数据，并报告其资源占用与延迟。
#[derive(Parser)]
#[command(after_help = "\
Examples:
  chengdu --mqtt 127.0.0.1:1883 --http 127.0.0.1:8080 --pid $(pidof ingest)                  the city minute, ten times
  chengdu … --gateways 250 --minutes 2                                                       a million devices
  chengdu … --speed 0 --gateways 250 --minutes 2 --first-minute 2 --start-hours-ago 1        two more, as fast as it goes
  chengdu … --speed 6 --start-hours-ago 24 --minutes 60                                      an hour of yesterday in ten minutes")]
struct Args {
    /// MQTT address of ingest, on loopback.
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// HTTP address of ingest, on loopback: the live stream.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Process of ingest, whose memory and processor time are watched.
    #[arg(long)]
    pid: Option<u32>,
    /// Gateways; each has a connection.
    #[arg(long, default_value_t = 5_500)]
    gateways: u32,
    /// Devices of each gateway, at most 4000.
    #[arg(long, default_value_t = MAX_DEVICES)]
    devices: u32,
    /// Buildings of each gateway, at most 64.
    #[arg(long, default_value_t = PLACES)]
    places: u32,
    /// Minutes of the city to send.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Minute to begin with: those before it were sent by another run.
    #[arg(long, default_value_t = 0)]
    first_minute: u64,
    /// City minutes in a minute; 0 sends as fast as frames are taken.
    #[arg(long, default_value_t = 1)]
    speed: u64,
    /// Hours before now at which the first minute lies: needed when the city runs faster than the clock.
    #[arg(long, default_value_t = 0)]
    start_hours_ago: u32,
    /// One frame in so many is sent twice; 0 for none.
    #[arg(long, default_value_t = 500)]
    doubled_in: u32,
    /// Seed: another one is another city to ingest.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

/// What all connections did.
#[derive(Default)]
struct Done {
    frames: AtomicU64,
    readings: AtomicU64,
    bytes: AtomicU64,
    later: AtomicU64,
    broken: AtomicU64,
    doubled: AtomicU64,
    /// From the first byte of a publish to its acknowledgement, in µs.
    acknowledged_us: Mutex<Vec<u64>>,
    /// How late frames were sent, in µs: whether the generator keeps up.
    behind_us: AtomicU64,
}

fn quantile(sorted: &[u64], q: f64) -> f64 {
    let at = ((sorted.len().saturating_sub(1)) as f64 * q).round() as usize;
    sorted.get(at).map_or(f64::NAN, |us| *us as f64 / 1_000.0)
}

fn spread(mut all_us: Vec<u64>) -> String {
    all_us.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&all_us, q));
    format!("p50 {p50:.1}  p99 {p99:.1}  max {max:.1} ms of {}", all_us.len())
}

/// A connection that publishes one message at a time and waits for its answer.
struct Publisher {
    stream: BufReader<TcpStream>,
    id: u16,
}

impl Publisher {
    async fn connect(broker: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(broker).await?;
        stream.set_nodelay(true)?;
        let mut publisher = Self { stream: BufReader::with_capacity(256, stream), id: 0 };
        publisher.stream.write_all(&mqtt::connect(Version::V5, name)).await?;
        let (first, body) = mqtt::next_packet(&mut publisher.stream).await?;
        ensure!(
            first == 0x20 && body.get(1) == Some(&0),
            "{name}: the broker refused the connection: {body:?}"
        );
        Ok(publisher)
    }

    /// The reason code of the answer.
    async fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<u8> {
        self.id = self.id % 60_000 + 1;
        self.stream.write_all(&mqtt::publish(Version::V5, topic, self.id, payload)).await?;
        loop {
            let (first, body) = mqtt::next_packet(&mut self.stream).await?;
            if first >> 4 == 4 && body.get(..2) == Some(&self.id.to_be_bytes()) {
                return Ok(body.get(2).copied().unwrap_or(0));
            }
        }
    }
}

/// One gateway's life.
async fn live(
    args: Arc<Args>,
    city: Arc<City>,
    gateway: u32,
    start: Instant,
    done: Arc<Done>,
) -> anyhow::Result<()> {
    let id = city.id(gateway)?;
    let topic = topic::up(&id, Lane::Reading);
    let spread_ms = CONNECT_MS * u64::from(gateway) / u64::from(city.gateways());
    sleep(Duration::from_millis(spread_ms)).await;
    let mut publisher = None;
    for (minute, slot) in (0..args.minutes).flat_map(|minute| (0..SLOTS).map(move |slot| (minute, slot))) {
        let due_ms = minute * MINUTE_MS + u64::from(slot + 1) * SLOT_MS + city.phase_ms(gateway);
        // At speed 0 everything is due at once.
        let due = start + Duration::from_millis(CONNECT_MS + due_ms.checked_div(args.speed).unwrap_or(0));
        sleep_until(due).await;
        done.behind_us.fetch_max(due.elapsed().as_micros() as u64, Relaxed);
        let bytes = city.frame(gateway, &id, args.first_minute + minute, slot)?;
        let is_doubled = args.doubled_in > 0 && fastrand::u32(..args.doubled_in) == 0;
        for _ in 0..=u32::from(is_doubled) {
            deliver(&args, &mut publisher, &id, &topic, &bytes, &done).await?;
        }
        done.doubled.fetch_add(u64::from(is_doubled), Relaxed);
        done.frames.fetch_add(1, Relaxed);
        done.readings.fetch_add(u64::from(city.devices_of(slot)), Relaxed);
        done.bytes.fetch_add(bytes.len() as u64, Relaxed);
    }
    Ok(())
}

async fn deliver(
    args: &Args,
    publisher: &mut Option<Publisher>,
    id: &GatewayId,
    topic: &str,
    bytes: &[u8],
    done: &Done,
) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS {
        let connected = match &mut *publisher {
            Some(connected) => connected,
            empty => match Publisher::connect(args.mqtt, id.as_str()).await {
                Ok(fresh) => empty.insert(fresh),
                Err(_) => {
                    done.broken.fetch_add(1, Relaxed);
                    sleep(AGAIN).await;
                    continue;
                }
            },
        };
        let from_us = now_us();
        match connected.publish(topic, bytes).await {
            Ok(reason) if reason < 0x80 => {
                let took_us = now_us().saturating_sub(from_us);
                done.acknowledged_us.lock().unwrap_or_else(PoisonError::into_inner).push(took_us);
                return Ok(());
            }
            Ok(mqtt::LATER) => {
                done.later.fetch_add(1, Relaxed);
                sleep(AGAIN).await;
            }
            Ok(reason) => bail!("{id}: a frame was refused with reason {reason:#04x}"),
            Err(_) => {
                *publisher = None;
                done.broken.fetch_add(1, Relaxed);
                sleep(AGAIN).await;
            }
        }
    }
    bail!("{id}: a frame was not taken in {ATTEMPTS} attempts")
}

/// How many cells the city's buildings lie in.
fn cells(city: &City) -> usize {
    let places = (0..city.gateways()).flat_map(|gateway| city.places(gateway));
    places.map(|place| Cell::at_e7(place.lat_e7, place.lon_e7, CELL)).collect::<HashSet<_>>().len()
}

/// The gateway that raises alarms: that of another city may run beside it.
fn probe_id(seed: u64) -> Result<GatewayId, wire::NameError> {
    GatewayId::new(&format!("probe-{:08x}", seed as u32))
}

/// Raises alarms until told to stop; when each was sent, in µs since 1970.
async fn probe(args: Arc<Args>, ended: Arc<AtomicBool>) -> anyhow::Result<Vec<u64>> {
    let id = probe_id(args.seed)?;
    let mut publisher = Publisher::connect(args.mqtt, id.as_str()).await?;
    let topic = topic::up(&id, Lane::Alarm);
    let store = now_us();
    let mut sent = Vec::new();
    while !ended.load(Relaxed) {
        let number = sent.len() as u64 + 1;
        let place = Place {
            lat_e7: 306_600_000,
            lon_e7: 1_040_600_000,
            datum: Datum::Wgs84,
            area: wire::Area::unknown(),
        };
        let event = AlarmEvent {
            episode: number,
            rule: format!("probe-{number}"),
            rule_version: 1,
            kind: AlarmKind::Raised,
            level: Level::Yellow,
            sensor: SensorName::new("probe")?,
            quantity: QuantityCode(1),
            place,
            mono_ms: number,
            value: Some(1.0),
            quality: Quality::Good,
            threshold: 0.5,
            measure: Measure::Value,
            worst: None,
            inputs: Vec::new(),
        };
        let clock = Clock { state: ClockState::Synchronised, epoch_ms: (now_us() / 1_000) as i64 };
        let alarms = Payload::Alarms(Alarms { boot: BootId(1), clock, events: vec![event] });
        let bytes = frame::encode(&id, store, number, &alarms, Codec::Zstd)?;
        sent.push(now_us());
        let reason = publisher.publish(&topic, &bytes).await?;
        ensure!(reason < 0x80, "an alarm was refused with reason {reason:#04x}");
        sleep(PROBE).await;
    }
    Ok(sent)
}

/// Processor time of a process so far, in seconds.
fn processor_s(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).context("no such process")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS)
}

#[allow(clippy::print_stdout, clippy::disallowed_methods)] // the results; the program that drives owns the clock
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Arc::new(Args::parse());
    ensure!(
        args.mqtt.ip().is_loopback() && args.http.ip().is_loopback(),
        "this program only ever sends to loopback"
    );
    ensure!(args.gateways >= 1, "--gateways is 0, and has to be at least 1");
    let epoch_ms =
        (now_us() / 1_000) as i64 + CONNECT_MS as i64 - i64::from(args.start_hours_ago) * 3_600_000;
    let city =
        Arc::new(City::new(args.seed, args.gateways, args.devices, epoch_ms)?.with_places(args.places));
    println!(
        "{} devices of {} gateways in {} cells",
        u64::from(args.gateways) * u64::from(args.devices.min(MAX_DEVICES)),
        args.gateways,
        cells(&city)
    );
    let (start, done) = (Instant::now(), Arc::new(Done::default()));
    let heard = listener::listen(args.http).context("the live stream of ingest")?;
    let mut gateways = JoinSet::new();
    for gateway in 0..args.gateways {
        gateways.spawn(live(Arc::clone(&args), Arc::clone(&city), gateway, start, Arc::clone(&done)));
    }
    let mut sending = tokio::spawn(async move {
        while let Some(gateway) = gateways.join_next().await {
            gateway.context("a gateway panicked")??;
        }
        anyhow::Ok(Instant::now())
    });
    let ended = Arc::new(AtomicBool::new(false));
    let probed = tokio::spawn(probe(Arc::clone(&args), Arc::clone(&ended)));
    let first_s = args.pid.map(processor_s).transpose()?.unwrap_or(0.0);
    let (mut before_s, mut last_readings, mut most_kib) = (first_s, 0, 0);
    let mut sent_at = None;
    for minute in 0.. {
        let tick = start + Duration::from_millis(CONNECT_MS + (minute + 1) * MINUTE_MS);
        tokio::select! {
            all = &mut sending => sent_at = Some(all.context("sending panicked")??),
            () = sleep_until(tick) => {}
        }
        let readings = done.readings.load(Relaxed);
        let mut line = format!("minute {minute}: {} readings acknowledged", readings - last_readings);
        last_readings = readings;
        if let Some(pid) = args.pid {
            let now_s = processor_s(pid)?;
            let kib = process::rss_bytes(pid).unwrap_or(0) >> 10;
            most_kib = most_kib.max(kib);
            line += &format!(", ingest: {:.1} s of processor, {} MiB", now_s - before_s, kib / 1024);
            before_s = now_s;
        }
        println!("{line}");
        if sent_at.is_some() {
            break;
        }
    }
    ended.store(true, Relaxed);
    let sent = probed.await.context("the probe panicked")??;
    sleep(PROBE_END).await;
    let mut heard_us = Vec::new();
    let id = probe_id(args.seed)?;
    while let Ok(alarm) = heard.try_recv() {
        if alarm.gateway != id.as_str() {
            continue;
        }
        let number = alarm.rule.strip_prefix("probe-").and_then(|number| number.parse::<usize>().ok());
        if let Some(from_us) = number.and_then(|number| sent.get(number.wrapping_sub(1))) {
            heard_us.push(alarm.at_us.saturating_sub(*from_us));
        }
    }
    ensure!(heard_us.len() == sent.len(), "{} alarms were raised, {} heard", sent.len(), heard_us.len());
    let acknowledged =
        std::mem::take(&mut *done.acknowledged_us.lock().unwrap_or_else(PoisonError::into_inner));
    let (frames, readings) = (done.frames.load(Relaxed), done.readings.load(Relaxed));
    println!(
        "{readings} readings in {frames} frames, {:.2} bytes each on the wire",
        done.bytes.load(Relaxed) as f64 / readings as f64
    );
    println!(
        "sent twice: {}; told to come later: {}; connections that broke: {}",
        done.doubled.load(Relaxed),
        done.later.load(Relaxed),
        done.broken.load(Relaxed)
    );
    let took_s = sent_at.map_or(f64::NAN, |at| (at - start).as_secs_f64()) - CONNECT_MS as f64 / 1_000.0;
    println!("taken in {took_s:.1} s: {:.0} readings a second", readings as f64 / took_s);
    if args.pid.is_some() {
        let million = readings as f64 / 1e6;
        println!("ingest: {:.2} s of processor for a million readings", (before_s - first_s) / million);
    }
    println!("the generator was late by {:.1} ms at most", done.behind_us.load(Relaxed) as f64 / 1_000.0);
    println!("publish to acknowledgement: {}", spread(acknowledged));
    println!("alarm to live stream:       {}", spread(heard_us));
    if args.pid.is_some() {
        println!("most memory of ingest seen at the end of a minute: {} MiB", most_kib / 1024);
    }
    Ok(())
}
