//! Random and mutated packets on MQTT and HTTP, between frames of a well-behaved gateway.
//!
//! Passes when ingest is up at the end, answered no sound request with a failure of its own, holds every good
//! reading exactly once, and did not grow.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use benches::city::{Gateway, Habits, SEED};
use benches::mutate::Stock;
use benches::publisher::Publisher;
use benches::siege::{Siege, Tally, loris};
use benches::{http, process, witness::Witness};
use clap::Parser;
use wire::columns::MAX_READINGS;
use wire::{Codec, Lane, topic};

/// Sensors of the well-behaved gateway, and readings in each of its frames.
const GOOD_SENSORS: usize = 16;
const GOOD_BATCH: usize = 64;
/// Pause between its frames.
const GOOD_PAUSE: Duration = Duration::from_millis(40);
/// Sound frames that the mutations start from.
const STOCK: usize = 64;
/// Clients that send a byte now and then, all the time.
const SLOW_CLIENTS: usize = 24;
/// Share of the packets after which memory counts as warmed up.
const WARM_UP: f64 = 0.2;
/// Most bytes of growth after the warm-up: allocators and caches move by less.
const MAX_GROWTH: u64 = 64 << 20;
/// How long to wait at the end until everything acknowledged can be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Attacks an ingest on this machine and proves that nothing good was lost.
#[derive(Parser)]
struct Args {
    /// MQTT address of ingest, on loopback.
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// HTTP address of ingest, on loopback.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Hostile packets in all.
    #[arg(long, default_value_t = 100_000)]
    packets: u64,
    /// Threads that send them.
    #[arg(long, default_value_t = 4)]
    threads: u64,
    /// Seed of the attack.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Process id of ingest: its memory is watched.
    #[arg(long)]
    pid: Option<u32>,
}

#[allow(clippy::disallowed_methods)] // the program that drives owns the clock
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[allow(clippy::disallowed_methods)] // as above
fn instant() -> Instant {
    Instant::now()
}

/// The well-behaved gateway: sends until `stop`, remembers every reading.
fn behave(args: &Args, run: u64, stop: &AtomicBool) -> anyhow::Result<(Gateway, Publisher, Witness)> {
    // Six hours back leaves room for all frames without a reading from the future.
    let epoch_ms = now_ms() - 6 * 3_600_000;
    let mut gateway = Gateway::new(
        &format!("good-{run:x}"),
        1,
        GOOD_SENSORS,
        args.seed ^ run,
        epoch_ms,
        Habits::default(),
    )?;
    let mut publisher = Publisher::new(args.mqtt, gateway.id.as_str(), 50);
    let mut witness = Witness::default();
    let announcement = gateway.announcement()?;
    publisher.send(topic::up(&gateway.id, Lane::Health), announcement)?;
    while !stop.load(Ordering::Relaxed) && gateway.made_until_ms() + 120_000 < now_ms() {
        let (_, bytes) = gateway.frame(GOOD_BATCH, Codec::Zstd)?;
        witness.saw(&bytes)?;
        publisher.send(topic::up(&gateway.id, Lane::Reading), bytes)?;
        thread::sleep(GOOD_PAUSE);
    }
    publisher.settle().context("the well-behaved gateway was not heard")?;
    Ok((gateway, publisher, witness))
}

fn stock(args: &Args, run: u64, thread: u64) -> anyhow::Result<Stock> {
    let epoch_ms = now_ms() - 2 * 3_600_000;
    let number = 2 + thread as usize;
    let prefix = format!("hostile-{run:x}");
    let mut own = Gateway::new(&prefix, number, 20, args.seed ^ thread, epoch_ms, Habits::default())?;
    let mut other = Gateway::new("somebody-else", number, 20, args.seed, epoch_ms, Habits::default())?;
    let mut frames = vec![own.announcement()?];
    for n in 0..STOCK {
        let codec = [Codec::Plain, Codec::Lz4, Codec::Zstd][n % 3];
        // One in eight is sound but of another gateway: published under a foreign topic it must be refused.
        let source = if n % 8 == 0 { &mut other } else { &mut own };
        frames.push(source.frame(10 + n * 5, codec)?.1);
    }
    Ok(Stock { gateway: own.id, frames, host: args.http.to_string() })
}

/// Watches memory until `stop`: bytes at each tenth of the packets.
fn watch(args: &Args, sent: &AtomicU64, stop: &AtomicBool) -> Vec<(u64, u64)> {
    let mut samples = Vec::new();
    let step = (args.packets / 10).max(1);
    while let Some(pid) = args.pid {
        let packets = sent.load(Ordering::Relaxed);
        if packets >= samples.len() as u64 * step
            && let Some(rss) = process::rss_bytes(pid)
        {
            samples.push((packets, rss));
        }
        if stop.load(Ordering::Relaxed) {
            samples.extend(process::rss_bytes(pid).map(|rss| (packets, rss)));
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    samples
}

#[allow(clippy::print_stdout)] // the results
fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    for address in [args.mqtt, args.http] {
        ensure!(address.ip().is_loopback(), "{address}: this program only ever attacks loopback");
    }
    if let Some(pid) = args.pid {
        ensure!(process::rss_bytes(pid).is_some(), "--pid {pid}: there is no such process");
    }
    let run = now_ms() as u64 / 1000;
    let before = http::get_json(args.http, "/api/v1/stats").context("ingest must be up before the attack")?;
    println!("seed {} · {} packets · {} threads", args.seed, args.packets, args.threads);

    let (sent, attack_over, all_over) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let start = instant();
    let (tally, good, memory) = thread::scope(|scope| -> anyhow::Result<_> {
        let good = scope.spawn(|| behave(&args, run, &attack_over));
        let memory = scope.spawn(|| watch(&args, &sent, &all_over));
        let slow = scope.spawn(|| loris(args.mqtt, args.http, SLOW_CLIENTS, &attack_over));
        let mut sieges = Vec::new();
        for thread in 0..args.threads {
            let stock = stock(&args, run, thread)?;
            let packets = args.packets / args.threads + u64::from(thread < args.packets % args.threads);
            let mut siege = Siege::new(args.mqtt, args.http, stock, args.seed.wrapping_add(thread));
            let sent = &sent;
            sieges.push(scope.spawn(move || {
                for _ in 0..packets {
                    siege.one();
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                siege.tally
            }));
        }
        let mut tally = Tally::default();
        for siege in sieges {
            tally.add(&siege.join().map_err(|_| anyhow::anyhow!("an attacker panicked"))?);
        }
        attack_over.store(true, Ordering::Relaxed);
        let good = good.join().map_err(|_| anyhow::anyhow!("the well-behaved gateway panicked"));
        let _ = slow.join();
        all_over.store(true, Ordering::Relaxed);
        let memory = memory.join().unwrap_or_default();
        Ok((tally, good??, memory))
    })?;
    let (gateway, publisher, witness) = good;
    println!("{} packets in {:.1} s\n{tally}", args.packets, start.elapsed().as_secs_f64());
    println!(
        "good: {} frames sent, {} acknowledged, {} refused, {} reconnects",
        gateway.last_sequence(),
        publisher.taken.saturating_sub(1),
        publisher.refused.0,
        publisher.reconnects
    );

    let mut faults = Vec::new();
    if publisher.refused.0 > 0 {
        faults
            .push(format!("{} good frames were refused ({:#04x})", publisher.refused.0, publisher.refused.1));
    }
    if tally.server_faults > 0 {
        faults.push(format!("{} sound requests were answered with a server failure", tally.server_faults));
    }
    let deadline = instant() + PATIENCE;
    let verdict = loop {
        match witness.compare(args.http, &gateway.id) {
            Ok(differences) if differences.is_empty() => break Vec::new(),
            Ok(differences) if instant() > deadline => break differences,
            Err(error) if instant() > deadline => break vec![format!("ingest does not answer: {error}")],
            _ => thread::sleep(Duration::from_millis(500)),
        }
    };
    println!("good readings: {} sent, {} differences with the API", witness.readings(), verdict.len());
    faults.extend(verdict);
    match http::get_json(args.http, "/api/v1/stats") {
        Ok(after) => {
            println!("stats before: {}\nstats after:  {}", before["readings"], after["readings"]);
            // What a message claims to hold must not be believed before it was unpacked.
            let most = (args.packets + gateway.last_sequence()) * MAX_READINGS as u64;
            for count in ["received", "duplicate", "quarantined", "lost"] {
                let grown = after["readings"][count].as_u64().unwrap_or(0).saturating_sub(most);
                if grown > before["readings"][count].as_u64().unwrap_or(0) {
                    faults
                        .push(format!("stats count more readings as {count} than {most} that could be sent"));
                }
            }
            if after["started_ms"] != before["started_ms"] {
                faults.push("ingest was restarted during the attack".into());
            }
        }
        Err(error) => faults.push(format!("ingest is not up: {error}")),
    }
    faults.extend(memory_verdict(&args, &memory));
    if faults.is_empty() {
        println!("PASSED: ingest is up, nothing good was lost or doubled, memory is flat");
        return Ok(ExitCode::SUCCESS);
    }
    println!("FAILED:\n- {}", faults.join("\n- "));
    Ok(ExitCode::FAILURE)
}

#[allow(clippy::print_stdout)] // the results
fn memory_verdict(args: &Args, samples: &[(u64, u64)]) -> Option<String> {
    args.pid?;
    let mib = |bytes: u64| bytes >> 20;
    let line: Vec<String> =
        samples.iter().map(|(packets, rss)| format!("{packets}: {} MiB", mib(*rss))).collect();
    println!("memory by packets: {}", line.join(", "));
    let warm = samples.iter().find(|(packets, _)| *packets as f64 >= args.packets as f64 * WARM_UP)?.1;
    let growth = samples.last()?.1.saturating_sub(warm);
    println!("growth after warm-up: {} MiB (limit {} MiB)", mib(growth), mib(MAX_GROWTH));
    (growth > MAX_GROWTH).then(|| format!("memory grew by {} MiB after the warm-up", mib(growth)))
}
