//! Valid frames at a chosen rate, to fill an ingest or to find its limit.
//!
//! Each thread plays some gateways of the seeded city. Event times start in the past and run ahead faster
//! than the clock; nothing is ever sent from the future.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use benches::city::{Gateway, Habits, SEED};
use benches::publisher::Publisher;
use clap::Parser;
use wire::{Codec, Lane, topic};

/// Attempts to connect before a connection gives up: with their pauses, half a minute.
const ATTEMPTS: u32 = 150;

/// Publishes valid frames of a seeded city to an ingest on this machine.
#[derive(Parser)]
struct Args {
    /// MQTT address of ingest, on loopback.
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Gateways in the city.
    #[arg(long, default_value_t = 8)]
    gateways: usize,
    /// Sensors of each gateway.
    #[arg(long, default_value_t = 50)]
    sensors: usize,
    /// Readings in a frame.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Threads that share the gateways.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Readings a second in all; 0 sends as fast as they are taken.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Seconds to send.
    #[arg(long = "for", default_value_t = 10, conflicts_with = "until_told")]
    seconds: u64,
    /// Send until standard input ends.
    #[arg(long)]
    until_told: bool,
    /// File that is told what was sent: a line "gateway store lane next-number" each, for the audit.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Hours before now at which event times start.
    #[arg(long, default_value_t = 48)]
    start_hours_ago: u32,
    /// Seed of names, stores and values: another seed is another city to ingest.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

#[allow(clippy::disallowed_methods)] // the program that drives owns the clock
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[allow(clippy::disallowed_methods)] // as above
fn instant() -> Instant {
    Instant::now()
}

/// What one thread did.
#[derive(Default)]
struct Done {
    frames: u64,
    readings: u64,
    later: u64,
    ledger: String,
}

/// One thread: frames of its gateways in turn until the end.
fn run(args: &Args, number: usize, start: Instant, told: &AtomicBool) -> anyhow::Result<Done> {
    let epoch_ms = now_ms() - i64::from(args.start_hours_ago) * 3_600_000;
    let prefix = format!("load-{:08x}", args.seed as u32);
    let mut gateways = (0..args.gateways)
        .filter(|gateway| gateway % args.threads == number)
        .map(|gateway| {
            let gateway =
                Gateway::new(&prefix, gateway, args.sensors, args.seed, epoch_ms, Habits::default())?;
            // A gateway may publish under its own name only, so each has its own connection.
            // In the kill rig ingest may be away for minutes.
            let attempts = if args.until_told { u32::MAX } else { ATTEMPTS };
            let publisher = Publisher::new(args.mqtt, gateway.id.as_str(), attempts);
            Ok((gateway, publisher))
        })
        .collect::<Result<Vec<_>, wire::NameError>>()?;
    for (gateway, publisher) in &mut gateways {
        let announcement = gateway.announcement()?;
        publisher.send(topic::up(&gateway.id, Lane::Health), announcement)?;
    }
    let end = (!args.until_told).then_some(start + Duration::from_secs(args.seconds));
    let mut sent = 0_u64;
    'sending: while !gateways.is_empty() {
        for (gateway, publisher) in &mut gateways {
            if end.is_some_and(|end| instant() >= end) || told.load(Ordering::Relaxed) {
                break 'sending;
            }
            if gateway.made_until_ms() + 60_000 > now_ms() {
                eprintln!("{}: reached the present; start earlier with --start-hours-ago", gateway.id);
                break 'sending;
            }
            let (_, bytes) = gateway.frame(args.batch, Codec::Zstd)?;
            publisher.send(topic::up(&gateway.id, Lane::Reading), bytes)?;
            sent += args.batch as u64;
            if args.rate > 0 {
                let due = Duration::from_secs_f64(sent as f64 * args.threads as f64 / args.rate as f64);
                thread::sleep((start + due).saturating_duration_since(instant()));
            }
        }
    }
    let mut done = Done { readings: sent, ..Done::default() };
    for (gateway, publisher) in &mut gateways {
        publisher
            .settle()
            .with_context(|| format!("{}: the last frames were not acknowledged", gateway.id))?;
        let (refused, reason) = publisher.refused;
        ensure!(
            refused == 0,
            "{}: {refused} frames were refused, the last with reason {reason:#04x}",
            gateway.id
        );
        done.frames += publisher.taken;
        done.later += publisher.later;
        for (lane, last) in [(Lane::Reading, gateway.last_sequence()), (Lane::Health, 1)] {
            done.ledger.push_str(&format!("{} {} {} {}\n", gateway.id, gateway.store, lane as u8, last + 1));
        }
    }
    Ok(done)
}

#[allow(clippy::print_stdout)] // the result
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.mqtt.ip().is_loopback(), "--mqtt {}: this program only ever sends to loopback", args.mqtt);
    ensure!(args.threads >= 1 && args.gateways >= args.threads, "each thread needs a gateway");
    let start = instant();
    let told = Arc::new(AtomicBool::new(false));
    if args.until_told {
        let told = Arc::clone(&told);
        // A blocking read that lasts until the parent closes the pipe or dies.
        thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            told.store(true, Ordering::Relaxed);
        });
    }
    let all = thread::scope(|scope| {
        let (args, told) = (&args, &told);
        let threads: Vec<_> =
            (0..args.threads).map(|n| scope.spawn(move || run(args, n, start, told))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let (frames, readings) = all.iter().fold((0, 0), |(f, r), done| (f + done.frames, r + done.readings));
    println!(
        "{frames} frames with {readings} readings acknowledged in {seconds:.1} s: {:.0} readings/s; {} were told to come later",
        readings as f64 / seconds,
        all.iter().map(|done| done.later).sum::<u64>()
    );
    if let Some(path) = &args.ledger {
        let text: String = all.iter().map(|done| done.ledger.as_str()).collect();
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
