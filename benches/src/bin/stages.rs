//! Where a reading's time goes inside ingest: processor nanoseconds of each stage, one after the other on one thread.
//!
//! A city of gateways in memory, nothing on a socket. Processor time comes from the kernel's account of this thread,
//! so other load on the machine hardly shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use benches::chengdu::{City, MAX_DEVICES, SLOTS};
use benches::city::{Gateway, Habits, SEED};
use benches::process::processor_ns;
use benches::table::Table;
use clap::Parser;
use configs::Catalogue;
use ingest::admit;
use ingest::columns::{Names, PoolFolder, Stretch, write_readings, write_windows};
use ingest::pool::{Rules, Settled, State};
use ingest::senml::Mappings;
use wire::{Codec, Header};

/// Start of the simulated time, 2026-06-01 UTC.
const EPOCH_MS: i64 = 1_780_272_000_000;

/// Measures each stage between socket and Parquet, in processor nanoseconds and bytes per reading.
#[derive(Parser)]
struct Args {
    /// Gateways in the city.
    #[arg(long, default_value_t = 64)]
    gateways: usize,
    /// Sensors of each gateway.
    #[arg(long, default_value_t = 50)]
    sensors: usize,
    /// Readings in a frame.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Frames of the city minute instead: gateways of 4000 devices that report once a minute.
    #[arg(long)]
    chengdu: bool,
    /// Readings of a stretch, which becomes one set of Parquet files.
    #[arg(long, default_value_t = 500_000)]
    stretch: usize,
    /// Stretches whose windows go to Parquet together: in the city minute 44 of half a million readings.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    windows_every: u64,
    /// Stretches to measure, after one to warm up; eight files are merged into one.
    #[arg(long, default_value_t = 7)]
    stretches: u64,
    /// Folder for the files; removed at the end.
    #[arg(long, default_value = "stages.tmp")]
    data: PathBuf,
    /// Leaves the files there, for another engine to check.
    #[arg(long)]
    keep: bool,
}

/// Who makes up the readings.
enum Source {
    /// Few sensors, many readings of each in a frame.
    Street(Vec<Gateway>, usize),
    /// Many devices, one reading of each.
    City(City),
}

impl Source {
    fn of(args: &Args) -> anyhow::Result<Self> {
        if args.chengdu {
            return Ok(Self::City(City::new(SEED, args.gateways as u32, MAX_DEVICES, EPOCH_MS)?));
        }
        let gateway = |number| Gateway::new("stage", number, args.sensors, SEED, EPOCH_MS, Habits::default());
        Ok(Self::Street((0..args.gateways).map(gateway).collect::<Result<_, _>>()?, args.batch))
    }

    /// Readings of a frame, at most.
    fn batch(&self) -> usize {
        match self {
            Self::Street(_, batch) => *batch,
            Self::City(_) => MAX_DEVICES.div_ceil(SLOTS) as usize,
        }
    }

    /// The frame of a gateway in a round, and its readings.
    fn frame(&mut self, gateway: usize, round: u64) -> anyhow::Result<(Vec<u8>, usize)> {
        match self {
            Self::Street(gateways, batch) => Ok((gateways[gateway].frame(*batch, Codec::Zstd)?.1, *batch)),
            Self::City(city) => {
                let (gateway, slots) = (gateway as u32, u64::from(SLOTS));
                let slot = (round % slots) as u32;
                let bytes = city.frame(gateway, &city.id(gateway)?, round / slots, slot)?;
                Ok((bytes, city.devices_of(slot) as usize))
            }
        }
    }
}

/// Stages in their order, with what they cost.
#[derive(Default)]
struct Costs(Vec<(&'static str, u64)>);

impl Costs {
    fn time<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> anyhow::Result<T> {
        let from = processor_ns()?;
        let result = work();
        let ns = processor_ns()? - from;
        match self.0.iter_mut().find(|(name, _)| *name == stage) {
            Some((_, total)) => *total += ns,
            None => self.0.push((stage, ns)),
        }
        Ok(result)
    }
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        bytes += if path.is_dir() { bytes_below(&path)? } else { path.metadata()?.len() };
    }
    Ok(bytes)
}

#[allow(clippy::print_stdout)] // the results
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(!args.data.exists(), "{}: exists already; choose a new folder", args.data.display());
    let folder = PoolFolder::open(&args.data)?;
    let mut source = Source::of(&args)?;
    let mut frames = (0_u64..).flat_map(|round| (0..args.gateways).map(move |gateway| (round, gateway)));
    let mut state = State::new(Rules {
        catalogue: Arc::new(Catalogue::builtin()),
        mappings: Arc::new(Mappings::default()),
        hot_ms: 7_200_000,
        hot_bytes: 256 << 20,
    });
    let received_ms = EPOCH_MS + 2 * 86_400_000;
    let mut costs = Costs::default();
    let (mut readings, mut frame_bytes, mut before) = (0, 0, 0);
    for number in 0..=args.stretches {
        if number == 1 {
            costs = Costs::default();
            (readings, frame_bytes) = (0, 0);
            before = bytes_below(&args.data)?;
        }
        for (round, gateway) in frames.by_ref().take(args.stretch.div_ceil(source.batch())) {
            let (bytes, items) =
                costs.time("generator: make up and encode", || source.frame(gateway, round))??;
            frame_bytes += bytes.len();
            let frame = costs.time("broker: judge and decode", || -> anyhow::Result<_> {
                let header = Header::peek(&bytes)?;
                admit::content(&header, &bytes, received_ms).map_err(|e| anyhow::anyhow!("{e:?}"))
            })??;
            costs.time("apply: ledger, last values, windows, rows", || {
                state.apply_frame(&frame, received_ms)
            })?;
            costs.time("broker: free the frame", || drop(frame))?;
            readings += items as u64;
        }
        state.position += 1_000_000;
        let stretch = Stretch { from: state.current.from, to: state.position };
        let names = costs.time("apply: names of a cut", || Names::of(&state.current.rows, &state.sensors))?;
        // Those of the stretches before: the last one's are written below, the first one's counted in their stead.
        let windows_go = number % args.windows_every == 0 || number == args.stretches;
        if let Some(Settled { from, to, windows, .. }) = windows_go.then(|| state.settle()).flatten() {
            let files = costs.time("filer: windows to Parquet", || {
                write_windows(&folder, Stretch { from, to }, &windows)
            })??;
            drop(windows);
            state.note_filed(files);
        }
        let span = state.cut().context("nothing is in flight")?;
        costs.time("apply: snapshot of a cut", || state.take_snapshot().body.len())?;
        let files = costs
            .time("keeper: readings to Parquet", || write_readings(&folder, stretch, &span.rows, &names))??;
        drop(span);
        costs.time("apply: windows settle", || state.written(stretch.to, files, EPOCH_MS))?;
        costs.time("apply: windows become hot", || state.cool(usize::MAX))?;
    }
    let written = bytes_below(&args.data)? - before;
    if let Some(Settled { from, to, windows, .. }) = state.settle() {
        write_windows(&folder, Stretch { from, to }, &windows)?;
    }
    let mut merges = 0;
    let mut pace = |_| true;
    // All files have rested by then.
    let later = i64::MAX;
    while let Some(merged) = costs.time("compactor: merge, per reading written once", || {
        folder.compact(state.position, later, &mut pace, |_| Ok(()))
    })?? {
        merges += 1;
        let bytes = merged.metadata()?.len();
        println!("{}: {bytes} bytes", merged.strip_prefix(&args.data)?.display());
    }
    folder.finish_merges()?;
    let mut table = Table::new(&["stage", "ns per reading"]);
    let mut total = 0.0;
    for (stage, ns) in &costs.0 {
        let each = *ns as f64 / readings as f64;
        total += each;
        table.row(vec![(*stage).into(), format!("{each:.1}")]);
    }
    table.row(vec!["all".into(), format!("{total:.1}")]);
    print!("{}", table.text());
    println!(
        "\n{readings} readings of {} sensors; wire {:.2}, Parquet {:.2} bytes a reading",
        state.sensors.len(),
        frame_bytes as f64 / readings as f64,
        written as f64 / readings as f64
    );
    let all = readings + readings / args.stretches;
    let bytes = |part: &str| Ok::<_, std::io::Error>(bytes_below(&args.data.join(part))? as f64 / all as f64);
    println!(
        "after {merges} merges: readings {:.2}, windows {:.2} bytes a reading",
        bytes("readings")?,
        bytes("windows")?
    );
    if !args.keep {
        fs::remove_dir_all(&args.data)?;
    }
    Ok(())
}
