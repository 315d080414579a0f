//! Bytes and nanoseconds per reading: encode, decode, and admit with aggregation, for each codec and batch size.
//!
//! One core, seeded, several runs each with the smallest and the middle figure.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use benches::city::{Gateway, Habits, SEED};
use benches::table::{Table, min_and_median};
use clap::Parser;
use configs::Catalogue;
use ingest::admit;
use ingest::pool::{Rules, State};
use ingest::senml::Mappings;
use wire::{Codec, EncodeError, Frame, Header, Payload, frame};

/// Start of the simulated time, 2026-06-01: only its size matters.
const EPOCH_MS: i64 = 1_780_272_000_000;
/// Readings per frame that the table shows.
const SIZES: [usize; 3] = [50, 500, 4000];
/// Sensors of the gateway.
const SENSORS: usize = 25;
/// Batches that each figure averages over: different data, so that no branch predictor learns one by heart.
const BATCHES: usize = 32;

/// Measures the wire format and ingest's in-process path: bytes and nanoseconds per reading.
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

/// The same frames numbered one after the other, as ingest wants them.
fn number(batches: &[(Gateway, Payload)], codec: Codec) -> Result<Vec<Vec<u8>>, EncodeError> {
    let numbered = batches.iter().zip(1..);
    numbered
        .map(|((gateway, payload), n)| frame::encode(&gateway.id, gateway.store, n, payload, codec))
        .collect()
}

fn empty_state() -> State {
    State::new(Rules {
        catalogue: Arc::new(Catalogue::builtin()),
        mappings: Arc::new(Mappings::default()),
        hot_ms: 7_200_000,
        hot_bytes: 256 << 20,
    })
}

/// What ingest does with frames between socket and log, and behind the log: judge, unpack, drop repeats, register,
/// last values, windows, rows for Parquet. Without the disk.
fn admit_all(state: &mut State, frames: &[Vec<u8>]) -> usize {
    let received_ms = EPOCH_MS + 86_400_000;
    let mut taken = 0;
    for bytes in frames {
        let Ok(header) = Header::peek(bytes) else { continue };
        if let Ok(frame) = admit::content(&header, bytes, received_ms) {
            state.apply_frame(&frame, received_ms);
            taken += 1;
        }
    }
    taken
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
            let numbered = number(&batches, codec)?;
            let bytes = frames.iter().map(Vec::len).sum::<usize>() as f64 / readings;
            let mut times = [const { Vec::new() }; 4];
            for _ in 0..args.runs {
                times[0].push(time_ns(|| {
                    batches.iter().map(|b| encode(b).map_or(0, |f| f.len())).sum::<usize>()
                }));
                times[1].push(time_ns(|| frames.iter().filter(|bytes| Frame::decode(bytes).is_ok()).count()));
                times[2].push(time_ns(|| frames.iter().filter(|bytes| Header::peek(bytes).is_ok()).count()));
                let mut state = empty_state();
                times[3].push(time_ns(|| admit_all(&mut state, &numbered)));
                ensure!(state.totals.accepted as f64 == readings, "not every reading was accepted");
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
    let heading = [
        "readings",
        "per frame",
        "codec",
        "bytes",
        "encode ns",
        "decode ns",
        "header+CRC ns",
        "admit+aggregate ns",
    ];
    let mut table = Table::new(&heading);
    measure(&mut table, "as sensors round, ≤2 ms late", &args, Habits::default())?;
    measure(&mut table, "as sensors round, on time", &args, Habits { jitter_ms: 0, rounded: true })?;
    measure(&mut table, "not rounded, ≤2 ms late", &args, Habits { jitter_ms: 2, rounded: false })?;
    println!("{SENSORS} sensors, {BATCHES} frames, {} runs: smallest / middle, per reading\n", args.runs);
    print!("{}", table.text());
    Ok(())
}
