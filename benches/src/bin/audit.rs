//! The sequence audit: from the boxes' own counters to the Parquet files, 0 lost and 0 doubled.
//!
//! Three witnesses, read independently of each other:
//! - each box's store says which numbers it has given out and which still wait (opened as the gateway opens it, so
//!   the gateways must have stopped);
//! - ingest's log holds the frames as they came, with the number of items in their headers;
//! - the pool's Parquet rows carry the frame they came from.
//!
//! For each box, store and lane: every number given out is in the log, or still waits, or is explained by a loss
//! record. For each frame of readings: exactly as many rows as it had readings. No sensor has two rows of one
//! time. Ingest must have stopped too, so that everything is in Parquet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use benches::pool;
use benches::segments;
use benches::sequences::{LaneKey, Seen, unexplained};
use benches::table::Table;
use clap::Parser;
use gateway::buffer;
use gateway::clock::Timekeeper;
use ingest::pool::apply::kind;
use wire::{Frame, GatewayId, Header, Lane, Payload};

/// Differences shown in full.
const SHOWN: usize = 20;
/// Quota given to a store that is only looked at: far above any, so that nothing is thinned.
const QUOTA: u64 = 1 << 40;

/// Proves that nothing was lost or doubled between stopped gateways and a stopped ingest.
#[derive(Parser)]
struct Args {
    /// Data folder of the one command: ingest/ and gateways/*/ below it.
    #[arg(default_value = "watchfire-data")]
    data: PathBuf,
    /// Ingest's folder, when it is elsewhere.
    #[arg(long)]
    ingest: Option<PathBuf>,
    /// Folder that holds one folder for each gateway, named as the gateway, when it is elsewhere.
    #[arg(long)]
    gateways: Option<PathBuf>,
    /// What synthetic gateways say they sent, written by `load` [default: load.ledger in the data folder, if there].
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Frames may still wait on the boxes; without this everything must have arrived.
    #[arg(long)]
    backlog_allowed: bool,
}

/// What ingest's log says.
#[derive(Default)]
struct Arrived {
    /// Items in the headers of frames that passed the door, counted once for each frame.
    frames: Seen,
    /// How often each frame is in the log: repeats are allowed there.
    copies: Seen,
    /// Loss records by lane.
    losses: BTreeMap<LaneKey, Vec<(u64, u64)>>,
    /// Where the log begins: older frames were retired.
    begins: u64,
}

fn read_log(folder: &Path) -> anyhow::Result<Arrived> {
    let mut arrived = Arrived::default();
    let segments = segments::list(folder)?;
    arrived.begins = segments.first().map_or(0, |(base, _)| *base);
    for (base, path) in segments {
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        segments::read(base, &bytes, |record| {
            if record.kind != kind::FRAME {
                return;
            }
            let Ok(header) = Header::peek(record.payload) else { return };
            let key = (header.gateway.to_string(), header.store, header.lane as u8);
            if arrived.frames.items(&key, header.sequence) == 0 {
                arrived.frames.add(&key, header.sequence, u64::from(header.items));
            }
            arrived.copies.add(&key, header.sequence, 1);
            if header.lane == Lane::Health
                && let Ok(Frame { payload: Payload::Losses(losses), .. }) = header.unpack(record.payload)
            {
                for loss in losses.losses {
                    let key = (header.gateway.to_string(), header.store, loss.lane as u8);
                    arrived.losses.entry(key).or_default().push((loss.from, loss.to));
                }
            }
        });
    }
    Ok(arrived)
}

/// What the Parquet files say.
#[derive(Default)]
struct Stored {
    /// Rows by the frame they came from.
    rows: Seen,
    /// Sentences about readings that are there twice.
    doubled: Vec<String>,
    /// All rows, those of senders that are not audited included.
    total: u64,
}

fn read_pool(folder: &Path, audited: &BTreeSet<&str>) -> anyhow::Result<Stored> {
    let mut stored = Stored::default();
    // Sensor, time, store and frame: there may be tens of millions.
    let mut readings: Vec<(i32, i64, u64, u64)> = Vec::new();
    for path in pool::files(folder)? {
        let read = pool::read(&path, |gateway, row| {
            stored.total += 1;
            if audited.contains(gateway) {
                stored.rows.add(&(gateway.into(), row.store, row.lane), row.sequence, 1);
                readings.push((row.sensor_no, row.at_ms, row.store, row.sequence));
            }
        });
        read.with_context(|| path.display().to_string())?;
    }
    readings.sort_unstable();
    for pair in readings.windows(2) {
        let [(sensor, at_ms, store, frame), (b_sensor, b_at_ms, b_store, b_frame)] = [pair[0], pair[1]];
        // Within a frame the number of rows decides: a contact may change twice in a millisecond.
        let same_frame = (store, frame) == (b_store, b_frame);
        if (sensor, at_ms) == (b_sensor, b_at_ms) && !same_frame {
            stored.doubled.push(format!(
                "sensor {sensor} at {at_ms} ms is there twice: store {store:016x} frame {frame} and store {b_store:016x} frame {b_frame}"
            ));
        }
    }
    Ok(stored)
}

/// What a box says of its store: per lane the first number that waits, and the next it will give out.
async fn read_box(folder: &Path, gateway: &GatewayId) -> anyhow::Result<buffer::Heads> {
    let time = Timekeeper::start();
    let opened = buffer::open(folder, gateway, QUOTA, move || time.stamp())?;
    let heads = *opened.buffer.heads().borrow();
    opened.buffer.stop().await;
    let ended = tokio::task::spawn_blocking(move || opened.thread.join()).await?;
    ensure!(ended.is_ok(), "the store of {gateway} ended in a panic");
    Ok(heads)
}

/// A store and what its owner says of its lanes.
struct Store {
    name: String,
    store: u64,
    lanes: Vec<(Lane, buffer::LaneHead)>,
}

/// All stores that can be asked: those of the boxes, and the ledger of synthetic gateways.
async fn read_stores(args: &Args, gateways: &Path) -> anyhow::Result<Vec<Store>> {
    let mut boxes: Vec<_> = fs::read_dir(gateways)
        .with_context(|| gateways.display().to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("buffer").is_dir())
        .collect();
    boxes.sort();
    let mut stores = Vec::new();
    for folder in boxes {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let heads = read_box(&folder, &GatewayId::new(&name)?).await.with_context(|| name.clone())?;
        let lanes = Lane::ALL.into_iter().map(|lane| (lane, heads.lanes[lane as usize])).collect();
        stores.push(Store { name, store: heads.store, lanes });
    }
    let ledger = args.ledger.clone().unwrap_or_else(|| args.data.join("load.ledger"));
    if args.ledger.is_some() || ledger.exists() {
        let text = fs::read_to_string(&ledger).with_context(|| ledger.display().to_string())?;
        for line in text.lines() {
            let strange = || format!("{}: {line:?} is not a line of a ledger", ledger.display());
            let mut words = line.split(' ');
            let name = words.next().with_context(strange)?.to_owned();
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).with_context(strange);
            let (store, lane, next) = (number()?, number()?, number()?);
            let lane = u8::try_from(lane).ok().and_then(Lane::from_number).with_context(strange)?;
            // Synthetic gateways end only when everything was acknowledged.
            stores.push(Store { name, store, lanes: vec![(lane, buffer::LaneHead { floor: next, next })] });
        }
    }
    ensure!(!stores.is_empty(), "{}: no gateway has a buffer there", gateways.display());
    Ok(stores)
}

fn ranges(ranges: &[(u64, u64)]) -> String {
    let shown: Vec<String> = ranges.iter().take(8).map(|(from, to)| format!("{from}..={to}")).collect();
    format!("{}{}", shown.join(", "), if ranges.len() > 8 { ", …" } else { "" })
}

#[allow(clippy::print_stdout)] // the results
async fn audit(args: &Args) -> anyhow::Result<Vec<String>> {
    let ingest = args.ingest.clone().unwrap_or_else(|| args.data.join("ingest"));
    let gateways = args.gateways.clone().unwrap_or_else(|| args.data.join("gateways"));
    let arrived = read_log(&ingest.join("log"))?;
    let stores = read_stores(args, &gateways).await?;
    let audited: BTreeSet<&str> = stores.iter().map(|store| store.name.as_str()).collect();
    let Stored { rows, doubled: mut differences, total } =
        read_pool(&ingest.join("pool").join("readings"), &audited)?;
    println!("{total} readings in Parquet; the log begins at position {}", arrived.begins);

    let mut heading = vec!["gateway", "store", "lane", "given out", "waiting", "explained", "frames in log"];
    heading.extend(["repeats", "items", "rows", "lost", "doubled"]);
    let mut table = Table::new(&heading);
    let mut known: Vec<LaneKey> = Vec::new();
    for Store { name, store, lanes } in &stores {
        for (lane, head) in lanes {
            let key: LaneKey = (name.clone(), *store, *lane as u8);
            known.push(key.clone());
            let explained = arrived.losses.get(&key).cloned().unwrap_or_default();
            let mut lost = unexplained(&arrived.frames.missing(&key, head.floor), &explained);
            if arrived.begins > 0 {
                // What was retired from the log can only be looked for in the pool.
                lost.retain(|&(from, to)| {
                    *lane == Lane::Reading && (from..=to).any(|sequence| rows.items(&key, sequence) == 0)
                });
            }
            if !lost.is_empty() {
                differences.push(format!("{name} {}: lost {}", lane.as_str(), ranges(&lost)));
            }
            if !args.backlog_allowed && head.next > head.floor {
                let (from, to) = (head.floor, head.next - 1);
                differences.push(format!("{name} {}: {from}..={to} still wait on the box", lane.as_str()));
            }
            let beyond = arrived.frames.lane(&key).filter(|(sequence, _)| *sequence >= head.next).count();
            if beyond > 0 {
                differences
                    .push(format!("{name} {}: {beyond} frames that the box never gave out", lane.as_str()));
            }
            let doubled = compare_rows(&arrived, &rows, &key, *lane, &mut differences);
            let (frames, items) = arrived.frames.totals(&key);
            if frames == 0 && head.next == 1 {
                continue;
            }
            let count = |ranges: &[(u64, u64)]| ranges.iter().map(|(from, to)| to - from + 1).sum::<u64>();
            let repeats = arrived.copies.totals(&key).1.saturating_sub(frames);
            let numbers = [head.next - 1, head.next - head.floor, count(&explained), frames, repeats, items];
            let verdicts = [rows.totals(&key).1, count(&lost), doubled];
            let mut cells = vec![name.clone(), format!("{:08x}", store >> 32), lane.as_str().into()];
            cells.extend(numbers.iter().chain(&verdicts).map(u64::to_string));
            table.row(cells);
        }
    }
    // Stores that a box has replaced since: their rows must agree with the log.
    let replaced = |key: &&LaneKey| audited.contains(key.0.as_str()) && !known.contains(key);
    for key in rows.keys().filter(replaced) {
        compare_rows(&arrived, &rows, key, Lane::Reading, &mut differences);
    }
    let others: BTreeSet<&str> =
        arrived.frames.keys().map(|key| key.0.as_str()).filter(|name| !audited.contains(name)).collect();
    if !others.is_empty() {
        println!("not audited, for they have no box here: {} senders", others.len());
    }
    print!("{}", table.text());
    Ok(differences)
}

/// Each frame of readings has as many rows as readings. Gives how many rows are too many.
fn compare_rows(
    arrived: &Arrived,
    rows: &Seen,
    key: &LaneKey,
    lane: Lane,
    differences: &mut Vec<String>,
) -> u64 {
    if lane != Lane::Reading {
        return 0;
    }
    let (frames, whole) = (&arrived.frames, arrived.begins == 0);
    let mut doubled = 0;
    for (sequence, items) in frames.lane(key) {
        let found = rows.items(key, sequence);
        if found != items {
            differences.push(format!("{} frame {sequence}: {items} readings sent, {found} rows", key.0));
        }
        doubled += found.saturating_sub(items);
    }
    for (sequence, found) in rows.lane(key) {
        if whole && frames.items(key, sequence) == 0 {
            differences
                .push(format!("{} frame {sequence}: {found} rows of a frame that is not in the log", key.0));
            doubled += found;
        }
    }
    doubled
}

#[allow(clippy::print_stdout)] // the verdict
fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let differences = runtime.block_on(audit(&args))?;
    if differences.is_empty() {
        println!("0 lost, 0 doubled");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} differences:", differences.len());
    for difference in differences.iter().take(SHOWN) {
        println!("- {difference}");
    }
    Ok(ExitCode::FAILURE)
}
