//! What the table of sensors costs as a city grows: bytes a sensor, processor time a reading, and with `--folder`
//! what checkpoints write, how long they hold up readings, and how long a start takes.
//!
//! Every sensor reports once in each round, one frame of a gateway after the other, gateways in no order.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use benches::city::SEED;
use benches::process::processor_ns;
use benches::table::Table;
use clap::Parser;
use configs::Catalogue;
use ingest::pool::apply::{Incoming, Known, kind};
use ingest::pool::pages::{Page, PageKind};
use ingest::pool::sensors::{Last, Sighting};
use ingest::pool::{Rules, State};
use ingest::senml::Mappings;
use wire::{
    Area, Batch, BootId, Clock, ClockState, Codec, Datum, Frame, GatewayId, Lane, Payload, Place, Quality,
    QuantityCode, Reading, SensorName, Series,
};

/// Start of the simulated time, 2026-06-01 UTC.
const EPOCH_MS: i64 = 1_780_272_000_000;
/// Sensors of one place: a frame names 64 places at most.
const PER_PLACE: usize = 16;

/// Readings of a checkpoint: as many as ingest lets wait.
const STRETCH: u64 = 500_000;
/// Minutes of checkpoints: in that time every page of newest readings is written once.
const MINUTES: i64 = 5;
/// Gateways whose frames are read again to see what that costs.
const AGAIN: usize = 1000;

/// Measures the table of sensors: bytes a sensor, processor nanoseconds a reading.
#[derive(Parser)]
struct Args {
    /// Sensors in the city.
    #[arg(long, value_delimiter = ',', default_value = "1000000,22000000")]
    sensors: Vec<usize>,
    /// Sensors of each gateway, all of them in each frame.
    #[arg(long, default_value_t = 1000)]
    each: usize,
    /// Rounds to measure, after one in which the sensors are new.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure checkpoints and a start too, with files in this new folder; removed at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Memory of this process that is there, in bytes.
fn resident_bytes() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/status").context("this needs Linux")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmRSS is empty")?.parse()?;
    Ok(kib * 1024)
}

fn rules() -> Rules {
    Rules {
        catalogue: Arc::new(Catalogue::builtin()),
        mappings: Arc::new(Mappings::default()),
        hot_ms: 7_200_000,
        hot_bytes: 256 << 20,
    }
}

/// How gateways name their sensors.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    /// All alike: `s17.level`.
    Alike,
    /// By serial number, each different in the city.
    Serial,
}

struct City {
    state: State,
    gateways: Vec<GatewayId>,
    naming: Naming,
    each: usize,
    alike: Vec<SensorName>,
}

impl City {
    fn new(sensors: usize, each: usize, naming: Naming) -> anyhow::Result<Self> {
        let gateways = (0..sensors / each).map(|n| GatewayId::new(&format!("gw-{n:05}")));
        let alike = (0..each).map(|n| SensorName::new(&format!("s{n}.level")));
        let mut city = Self {
            state: State::new(rules()),
            gateways: gateways.collect::<Result<_, _>>()?,
            naming,
            each,
            alike: alike.collect::<Result<_, _>>()?,
        };
        for n in 0..500 {
            city.state.sensors.area_number(&Area::new(&format!("chengdu/d{}/s{n}", n % 23))?);
        }
        Ok(city)
    }

    /// One frame of every gateway, in an order of `random`; of every sensor, or of about half of them. Returns
    /// processor time and readings, without making up the frames.
    fn round(&mut self, random: &mut fastrand::Rng, at_ms: i64, all: bool) -> anyhow::Result<(u64, u64)> {
        self.round_with(random, at_ms, all, |_, _| Ok(()))
    }

    /// The same with something done after each frame, told how many readings there were.
    fn round_with(
        &mut self,
        random: &mut fastrand::Rng,
        at_ms: i64,
        all: bool,
        mut after: impl FnMut(&mut State, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<(u64, u64)> {
        let mut order: Vec<usize> = (0..self.gateways.len()).collect();
        random.shuffle(&mut order);
        let (mut ns, mut readings) = (0, 0);
        for number in order {
            let serials: Vec<SensorName>;
            let names = match self.naming {
                Naming::Alike => &self.alike,
                Naming::Serial => {
                    let first = (number * self.each) as u64;
                    let name = |n: u64| {
                        SensorName::new(&format!("{:016x}", (first + n).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                    };
                    serials = (0..self.each as u64).map(name).collect::<Result<_, _>>()?;
                    &serials
                }
            };
            let names: Vec<(usize, &SensorName)> =
                names.iter().enumerate().filter(|_| all || random.bool()).collect();
            let from = processor_ns()?;
            let owner = self.state.sensors.owner(&self.gateways[number]);
            for (n, name) in names {
                let place = (number * self.each + n) / PER_PLACE;
                let seen = Sighting {
                    quantity: QuantityCode((n % 226) as u16),
                    lat_e7: 306_000_000 + place as i32,
                    lon_e7: 1_040_000_000,
                    area: (number % 500) as u32,
                };
                let sensor = self.state.sensors.see(owner, name, &seen).context("too many sensors")?;
                let value = Some(20.0 + (n % 100) as f64 / 10.0);
                let (quality, clock) = (Quality::Good, ClockState::Synchronised);
                self.state.sensors.reading(sensor, Last { at_ms: at_ms + n as i64, value, quality, clock });
                readings += 1;
            }
            ns += processor_ns()? - from;
            self.state.sensors.forget_changes();
            after(&mut self.state, readings)?;
        }
        Ok((ns, readings))
    }
}

impl City {
    /// A first checkpoint, one for every stretch of a minute, and a start from the last.
    #[allow(clippy::disallowed_methods)] // it measures
    fn checkpoints(
        &mut self,
        random: &mut fastrand::Rng,
        folder: &Path,
        table: &mut Table,
    ) -> anyhow::Result<()> {
        fs::create_dir(folder).with_context(|| format!("{}: a new folder is needed", folder.display()))?;
        let at_ms = EPOCH_MS + 86_400_000;
        let log_bytes = self.frame(&self.gateways[0])?.len() as f64 / self.each as f64;
        for gateway in &self.gateways {
            self.state.gateways.heard(gateway, at_ms);
            self.state.door.lock().ledger.take(gateway, 1, Lane::Reading, 1, at_ms);
        }
        let from = processor_ns()?;
        let first = self.state.take_snapshot();
        let first_ms = (processor_ns()? - from) as f64 / 1e6;
        let mut files = Pages::new(folder);
        files.write(&first.pages)?;
        let first_mb = megabytes(&first.pages, &first.body);
        drop(first);
        let mut body = Vec::new();
        let (mut pauses, mut sizes, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for minute in 0..MINUTES {
            let mut before = 0;
            self.round_with(random, at_ms + minute * 60_000, true, |state, readings| {
                if readings - before >= STRETCH {
                    state.position += ((readings - before) as f64 * log_bytes) as u64;
                    before = readings;
                    let from = processor_ns()?;
                    let snapshot = state.take_snapshot();
                    pauses.push((processor_ns()? - from) as f64 / 1e6);
                    sizes.push(megabytes(&snapshot.pages, &snapshot.body));
                    let from = Instant::now();
                    files.write(&snapshot.pages)?;
                    writes.push(from.elapsed().as_secs_f64() * 1e3);
                    body = snapshot.body;
                }
                Ok(())
            })?;
        }
        let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len().max(1) as f64;
        let from = Instant::now();
        let mut back =
            State::restore_with(rules(), 0, 0, 0, &body, 0, |kind, number| files.read(kind, number))
                .context("the pages do not fit together")?;
        let start_s = from.elapsed().as_secs_f64();
        ensure!(back.sensors.len() == self.state.sensors.len(), "{} sensors came back", back.sensors.len());
        table.row(vec![
            format!("{} sensors, {} checkpoints (first {first_ms:.0} ms)", back.sensors.len(), sizes.len()),
            format!("{first_mb:.1}"),
            format!("{:.2}", mean(&sizes)),
            format!("{:.2}", mean(&pauses)),
            format!("{:.2}", pauses.iter().copied().fold(0.0, f64::max)),
            format!("{:.1}", mean(&writes)),
            format!("{start_s:.2}"),
            format!("{log_bytes:.2}"),
            format!("{:.1}", self.again(&mut back)?),
        ]);
        fs::remove_dir_all(folder)?;
        Ok(())
    }

    /// A frame with one reading of each sensor.
    fn frame(&self, gateway: &GatewayId) -> anyhow::Result<Vec<u8>> {
        let places = (0..self.each.div_ceil(PER_PLACE))
            .map(|n| Place::new(30.6 + n as f64 * 0.0015, 104.0, Datum::Wgs84, Area::unknown()));
        let series = (0..).zip(&self.alike).map(|(n, name)| Series {
            sensor: name.clone(),
            quantity: QuantityCode(1),
            place: (n / PER_PLACE) as u16,
        });
        let taken = (0..self.each).map(|n| Reading {
            series: n as u16,
            mono_ms: 60_000 + n as u64,
            value: Some(20.0 + (n * 7919 % 1000) as f64 / 10.0),
            quality: Quality::Good,
        });
        let clock = Clock { state: ClockState::Synchronised, epoch_ms: EPOCH_MS + 2 * 86_400_000 };
        let batch = Batch {
            boot: BootId(1),
            clock,
            places: places.collect::<Result<_, _>>()?,
            series: series.collect(),
            readings: taken.collect(),
        };
        let frame =
            Frame { gateway: gateway.clone(), store: 1, sequence: 2, payload: Payload::Readings(batch) };
        Ok(frame.encode(Codec::Zstd)?)
    }

    /// What it costs to take the newest readings of the log again, in processor nanoseconds a reading.
    fn again(&self, state: &mut State) -> anyhow::Result<f64> {
        let (mut ns, mut readings) = (0, 0);
        for gateway in self.gateways.iter().take(AGAIN) {
            let payload = self.frame(gateway)?;
            let from = processor_ns()?;
            state.refresh(&Incoming {
                end: 0,
                received_ms: EPOCH_MS + 2 * 86_400_000 + 120_000,
                kind: kind::FRAME,
                source: gateway.as_str(),
                payload: &payload,
                known: Known::Nothing,
            });
            ns += processor_ns()? - from;
            readings += self.each;
        }
        Ok(ns as f64 / readings.max(1) as f64)
    }
}

fn megabytes(pages: &[Page], body: &[u8]) -> f64 {
    (pages.iter().map(|page| page.bytes.len()).sum::<usize>() + body.len()) as f64 / 1e6
}

/// Pages in files, one slot each: what counts here is how many bytes are written and read.
struct Pages {
    folder: PathBuf,
    sums: [Vec<(usize, u32)>; 3],
}

impl Pages {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), sums: Default::default() }
    }

    fn write(&mut self, pages: &[Page]) -> anyhow::Result<()> {
        for kind in PageKind::ALL {
            let mut options = OpenOptions::new();
            let file =
                options.create(true).truncate(false).write(true).open(self.folder.join(kind.as_str()))?;
            for page in pages.iter().filter(|page| page.kind == kind) {
                let number = page.number as usize;
                file.write_all_at(&page.bytes, (number * kind.max_bytes()) as u64)?;
                let sums = &mut self.sums[kind as usize];
                sums.resize(sums.len().max(number + 1), (0, 0));
                sums[number] = (page.bytes.len(), wire::frame::crc32c(&page.bytes));
            }
            file.sync_data()?;
        }
        Ok(())
    }

    fn read(&self, kind: PageKind, number: u32) -> Option<Vec<u8>> {
        let Some(&(length, sum)) = self.sums[kind as usize].get(number as usize) else {
            return Some(Vec::new());
        };
        let mut bytes = vec![0; length];
        let file = File::open(self.folder.join(kind.as_str())).ok()?;
        file.read_exact_at(&mut bytes, u64::from(number) * kind.max_bytes() as u64).ok()?;
        (wire::frame::crc32c(&bytes) == sum).then_some(bytes)
    }
}

#[allow(clippy::print_stdout)] // the results
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!((1..=4096).contains(&args.each), "--each {}: 1 to 4096 sensors of a gateway expected", args.each);
    let mut table = Table::new(&[
        "sensors, names",
        "bytes each",
        "resident",
        "new: ns each",
        "all again: ns",
        "half of them: ns",
    ]);
    let mut checkpoints = Table::new(&[
        "checkpoints",
        "MB, first",
        "MB each",
        "pause, ms",
        "longest",
        "written in ms",
        "start, s",
        "log, bytes",
        "again: ns",
    ]);
    for &count in &args.sensors {
        for (naming, word) in [(Naming::Alike, "alike"), (Naming::Serial, "serial numbers")] {
            let mut random = fastrand::Rng::with_seed(SEED);
            let before = resident_bytes()?;
            let mut city = City::new(count, args.each, naming)?;
            let each = |(ns, readings): (u64, u64)| format!("{:.1}", ns as f64 / readings.max(1) as f64);
            let new = each(city.round(&mut random, EPOCH_MS, true)?);
            let mut again = |all| -> anyhow::Result<String> {
                let mut sum = (0, 0);
                for round in 1..=args.rounds as i64 {
                    let (ns, readings) = city.round(&mut random, EPOCH_MS + round * 60_000, all)?;
                    sum = (sum.0 + ns, sum.1 + readings);
                }
                Ok(each(sum))
            };
            let (all, half) = (again(true)?, again(false)?);
            if let Some(folder) = args.folder.as_ref().filter(|_| naming == Naming::Alike) {
                city.checkpoints(&mut random, folder, &mut checkpoints)?;
            }
            let sensors = city.state.sensors.len();
            let bytes = |bytes: u64| format!("{:.1}", bytes as f64 / sensors as f64);
            table.row(vec![
                format!("{sensors}, {word}"),
                bytes(city.state.sensors.memory_bytes() as u64),
                bytes(resident_bytes()?.saturating_sub(before)),
                new,
                all,
                half,
            ]);
        }
    }
    print!("{}", table.text());
    if args.folder.is_some() {
        print!("\n{}", checkpoints.text());
    }
    Ok(())
}
