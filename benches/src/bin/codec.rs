//! Bytes and nanoseconds per reading of the wire format: encode, decode, for each codec and batch size.
//!
//! One core, seeded, several runs each with the smallest and the middle figure.

use std::hint::black_box;
use std::time::Instant;

use benches::city::{Gateway, Habits, SEED};
use benches::table::{Table, min_and_median};
use clap::Parser;
use wire::{Codec, EncodeError, Frame, Header, Payload, frame};

/// Start of the simulated time, 2026-06-01: only its size matters.
const EPOCH_MS: i64 = 1_780_272_000_000;
/// Readings per frame that the table shows.
const SIZES: [usize; 3] = [50, 500, 4000];
/// Sensors of the gateway.
const SENSORS: usize = 25;
/// Batches that each figure averages over: different data, so that no branch predictor learns one by heart.
const BATCHES: usize = 32;

/// Measures the wire format: bytes and nanoseconds per reading.
#[derive(Parser)]
struct Args {
    /// Runs of each measurement.
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Seed of the readings.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

fn batches(seed: u64, habits: Habits, size: usize) -> anyhow::Result<Vec<(Gateway, Payload)>> {
    let mut gateway = Gateway::new("street", 0, SENSORS, seed, EPOCH_MS, habits)?;
    Ok((0..BATCHES).map(|_| (gateway.clone(), Payload::Readings(gateway.batch(size)))).collect())
}

#[allow(clippy::disallowed_methods)] // a benchmark owns the clock
fn time_ns<T>(mut work: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_nanos() as f64
}

fn measure(table: &mut Table, name: &str, args: &Args, habits: Habits) -> anyhow::Result<()> {
    for size in SIZES {
        let batches = batches(args.seed, habits, size)?;
        for codec in [Codec::Plain, Codec::Lz4, Codec::Zstd] {
            let encode = |(gateway, payload): &(Gateway, Payload)| {
                frame::encode(&gateway.id, gateway.store, 1, payload, codec)
            };
            let frames: Result<Vec<Vec<u8>>, EncodeError> = batches.iter().map(encode).collect();
            let frames = match frames {
                Ok(frames) => frames,
                Err(error) => {
                    table.row(vec![name.into(), size.to_string(), format!("{codec:?}"), error.to_string()]);
                    continue;
                }
            };
            let readings = (size * BATCHES) as f64;
            let bytes = frames.iter().map(Vec::len).sum::<usize>() as f64 / readings;
            let mut times = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..args.runs {
                times[0].push(time_ns(|| {
                    batches.iter().map(|b| encode(b).map_or(0, |f| f.len())).sum::<usize>()
                }));
                times[1].push(time_ns(|| frames.iter().filter(|bytes| Frame::decode(bytes).is_ok()).count()));
                times[2].push(time_ns(|| frames.iter().filter(|bytes| Header::peek(bytes).is_ok()).count()));
            }
            let mut row = vec![name.into(), size.to_string(), format!("{codec:?}"), format!("{bytes:.2}")];
            for times in &mut times {
                let (min, median) = min_and_median(times);
                row.push(format!("{:.1} / {:.1}", min / readings, median / readings));
            }
            table.row(row);
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout)] // the results
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let heading = ["readings", "per frame", "codec", "bytes", "encode ns", "decode ns", "header+CRC ns"];
    let mut table = Table::new(&heading);
    measure(&mut table, "as sensors round, ≤2 ms late", &args, Habits::default())?;
    measure(&mut table, "as sensors round, on time", &args, Habits { jitter_ms: 0, rounded: true })?;
    measure(&mut table, "not rounded, ≤2 ms late", &args, Habits { jitter_ms: 2, rounded: false })?;
    println!("{SENSORS} sensors, {BATCHES} frames, {} runs: smallest / middle, per reading\n", args.runs);
    print!("{}", table.text());
    Ok(())
}
