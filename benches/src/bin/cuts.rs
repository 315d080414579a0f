//! The tool of `benches/power/city`: ingest under load on a recorded disk, and what each power cut leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use benches::layout;
use benches::pool;
use benches::power::frames::{Content, Promise, Sent, judge};
use benches::power::log::{Cut, Disk, WriteLog};
use benches::power::mounted::Mounted;
use benches::power::senders::{self, GATEWAYS, HABITS, Habit, Senders};
use benches::power::server::{CONFIG, Ingest};
use clap::{Args, Parser, Subcommand};

/// Frames of each gateway that are sent again after a cut, and as many new ones.
const AGAIN: u64 = 24;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Event times begin so long before a midnight: the pool has files of two days.
const BEFORE_MIDNIGHT_MS: i64 = 10 * 60_000;

/// Records ingest under load on a disk, cuts the recording, and judges what is left.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Run ingest under load in a folder of a recorded disk that is mounted.
    Record {
        #[command(flatten)]
        recording: Where,
        /// Which habit its gateways have.
        #[arg(long)]
        number: usize,
        /// Where the disk is mounted.
        #[arg(long)]
        mounted: PathBuf,
        /// The recorded disk itself, for the notes.
        #[arg(long)]
        disk: PathBuf,
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        #[arg(long)]
        preload: Option<PathBuf>,
    },
    /// Cut a recording and judge each image; needs root for the loop mount.
    Replay {
        #[command(flatten)]
        recording: Where,
        #[arg(long, default_value_t = 50)]
        cuts: u64,
        /// Only this one of the cuts.
        #[arg(long)]
        case: Option<u64>,
        /// A Python that has duckdb: every window is then recomputed from the rows.
        #[arg(long)]
        python: Option<PathBuf>,
    },
    /// Make a recording's first image out of a cut of another recording.
    Again {
        #[command(flatten)]
        recording: Where,
        #[arg(long)]
        parent: PathBuf,
    },
}

#[derive(Args)]
struct Where {
    /// Folder of the recording.
    folder: PathBuf,
    /// The file system's size on the disk, in MiB; notes lie behind it.
    #[arg(long)]
    fs_mib: u64,
    #[arg(long)]
    seed: u64,
    /// The program `ingest`.
    #[arg(long)]
    ingest: PathBuf,
}

#[allow(clippy::disallowed_methods)] // the program that drives owns the clock
fn now() -> Instant {
    Instant::now()
}

/// What a recording starts with.
struct Load {
    habit: Habit,
    seed: u64,
    epoch_ms: i64,
    /// What was acknowledged before.
    before: Promise,
}

impl Load {
    /// A city that begins some minutes before a midnight.
    fn fresh(number: usize, seed: u64) -> Self {
        #[allow(clippy::disallowed_methods)] // as above
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let epoch_ms = now_ms - now_ms % DAY_MS - DAY_MS - BEFORE_MIDNIGHT_MS;
        Self { habit: HABITS[number % HABITS.len()], seed, epoch_ms, before: Promise(vec![0; GATEWAYS]) }
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("load")
    }

    /// What [`Load::write`] wrote; `None` when nothing did.
    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        let mut lines = text.lines();
        let mut line = || lines.next().with_context(|| format!("{} is cut off", path.display()));
        let name = line()?;
        let habit = HABITS.into_iter().find(|habit| habit.name == name).context("a habit that is none")?;
        let (seed, epoch_ms) = (line()?.parse()?, line()?.parse()?);
        let before = Promise::parse(line()?).context("a promise that is none")?;
        Ok(Some(Self { habit, seed, epoch_ms, before }))
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let Self { habit, seed, epoch_ms, before } = self;
        Ok(fs::write(Self::path(folder), format!("{}\n{seed}\n{epoch_ms}\n{before}\n", habit.name))?)
    }
}

fn config(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("ingest.toml");
    fs::write(&path, CONFIG)?;
    Ok(path)
}

#[allow(clippy::print_stdout)] // the results
fn record(
    place: &Where,
    number: usize,
    (mounted, disk): (&Path, &Path),
    seconds: u64,
    preload: Option<PathBuf>,
) -> anyhow::Result<()> {
    let load = match Load::read(&place.folder)? {
        Some(load) => load,
        None => Load::fresh(number, place.seed),
    };
    load.write(&place.folder)?;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let ingest = Ingest {
        program: place.ingest.clone(),
        mqtt: layout::choose(Some(loopback), 0)?.0,
        config: config(&place.folder)?,
        data: mounted.join("ingest"),
        log: place.folder.join("ingest.log"),
        preload,
    };
    let disk = File::options().write(true).open(disk).with_context(|| disk.display().to_string())?;
    let start = now();
    let mut running = ingest.start()?;
    running.ready()?;
    let notes = (disk, place.fs_mib << 20);
    let senders = Senders::start(load.habit, (load.seed, load.epoch_ms), &load.before, ingest.mqtt, notes)?;
    let (mut kills, mut merged) = (0, BTreeSet::new());
    loop {
        let left = Duration::from_secs(seconds).saturating_sub(start.elapsed());
        thread::sleep(left.min(Duration::from_millis(load.habit.kill_ms)));
        running.kill()?;
        if start.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        kills += 1;
        merged.extend(pool::age(&ingest.data.join("pool"))?);
        running = ingest.start()?;
        running.ready()?;
    }
    fs::write(place.folder.join("sent"), format!("{}\n", senders.sent()))?;
    let frames = senders.promise().frames() - load.before.frames();
    println!(
        "{}: {frames} frames acknowledged, {} files merged, {kills} times kill -9",
        load.habit.name,
        merged.len()
    );
    Ok(())
}

/// A recording with all that is known of it.
struct Recording<'a> {
    place: &'a Where,
    log: WriteLog,
    load: Load,
    /// Promises by entry.
    promises: Vec<(usize, Promise)>,
    /// The frames of each gateway, as they travelled.
    frames: Vec<Vec<Vec<u8>>>,
    sent: Vec<Sent>,
    python: Option<&'a Path>,
}

impl<'a> Recording<'a> {
    fn open(place: &'a Where, python: Option<&'a Path>) -> anyhow::Result<Self> {
        let folder = &place.folder;
        let log = WriteLog::open(&folder.join("log"))?;
        let load = Load::read(folder)?.with_context(|| format!("{} has no load", folder.display()))?;
        let notes = log.notes(place.fs_mib << 20)?;
        let promises: Vec<_> =
            notes.iter().filter_map(|(index, text)| Some((*index, Promise::parse(text)?))).collect();
        ensure!(!promises.is_empty(), "{}: nothing was acknowledged", folder.display());
        let text = fs::read_to_string(folder.join("sent"))?;
        let last = Promise::parse(text.trim()).context("sent: numbers expected")?;
        let (mut frames, mut sent) = (Vec::new(), Vec::new());
        for (number, last) in last.0.iter().enumerate() {
            let gateway = senders::gateway(number, load.seed, load.epoch_ms)?;
            let (bytes, contents) = senders::made(gateway, load.habit.batch, last + AGAIN)?;
            frames.push(bytes);
            sent.push(contents);
        }
        Ok(Self { place, log, load, promises, frames, sent, python })
    }

    fn cut(&self, case: u64) -> Cut {
        Cut::of_case(&self.log, self.promises[0].0, self.place.seed, case)
    }

    fn promise_at(&self, cut: &Cut) -> &Promise {
        let before = self.promises.iter().take_while(|(index, _)| *index < cut.at).last();
        before.map_or(&self.load.before, |(_, promise)| promise)
    }

    /// What is wrong with an image after a cut, and how long ingest took to serve from it.
    fn judge_image(&self, image: &Path, cut: &Cut) -> anyhow::Result<(Vec<String>, Duration)> {
        let folder = &self.place.folder;
        let mounted = Mounted::new(image, &folder.join("mnt"))?;
        let data = mounted.folder("ingest");
        // A file with its name is whole, before anything was mended.
        if let Err(error) = rows(&data.join("pool")) {
            return Ok((vec![format!("half a file: {error:#}")], Duration::ZERO));
        }
        let ingest = Ingest {
            program: self.place.ingest.clone(),
            mqtt: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            config: config(folder)?,
            data,
            log: folder.join("boot.log"),
            preload: None,
        };
        match self.boot(&ingest, self.promise_at(cut)) {
            Ok(judged) => Ok(judged),
            Err(error) => Ok((vec![format!("{error:#}")], Duration::ZERO)),
        }
    }

    /// Starts the real ingest on what a cut left, sends what a gateway would send again and some more, stops it, and
    /// looks into the pool.
    fn boot(&self, ingest: &Ingest, promised: &Promise) -> anyhow::Result<(Vec<String>, Duration)> {
        let mut running = ingest.start()?;
        let (broker, took) = running.ready()?;
        for (number, (frames, &promised)) in self.frames.iter().zip(&promised.0).enumerate() {
            let gateway = senders::gateway(number, self.load.seed, self.load.epoch_ms)?;
            let range = promised.saturating_sub(AGAIN).max(1)..=promised + AGAIN;
            senders::send_again(&gateway, frames, range, broker).context("after the cut")?;
        }
        let promise = Promise(promised.0.iter().map(|promised| promised + AGAIN).collect());
        let status = running.stop()?;
        ensure!(status.success(), "it did not stop in order, {status}: {}", running.said()?);
        let mut wrong: Vec<String> =
            running.said()?.lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect();
        let pool = ingest.data.join("pool");
        wrong.extend(judge(&self.sent, &promise, &rows(&pool)?));
        if let Some(python) = self.python {
            let script = Path::new("benches/duckdb/recompute.py");
            let output = Command::new(python).arg(script).arg(&pool).output().context("the recomputation")?;
            if !output.status.success() {
                let [said, failed] =
                    [output.stdout, output.stderr].map(|out| String::from_utf8_lossy(&out).into_owned());
                wrong.push(format!("windows: {said}{failed}"));
            }
        }
        Ok((wrong, took))
    }
}

/// What the pool's files hold, by store and number of the frame.
fn rows(pool: &Path) -> anyhow::Result<BTreeMap<(u64, u64), Content>> {
    let mut found = BTreeMap::<_, Content>::new();
    for kind in ["readings", "windows"] {
        let folder = pool.join(kind);
        if !folder.exists() {
            continue; // the cut came before the first start
        }
        for path in pool::files(&folder)? {
            let read = if kind == "windows" {
                pool::whole(&path)
            } else {
                pool::read(&path, |_, row| {
                    found.entry((row.store, row.sequence)).or_default().add(row.at_ms, row.value);
                })
            };
            read.with_context(|| path.display().to_string())?;
        }
    }
    Ok(found)
}

#[allow(clippy::print_stdout)] // the results
fn replay(recording: &Recording<'_>, cuts: u64, only: Option<u64>) -> anyhow::Result<bool> {
    let (log, folder, seed) = (&recording.log, &recording.place.folder, recording.place.seed);
    println!(
        "{}: {} entries, {} flushes, {} bytes written, {} notes from entry {} on",
        folder.display(),
        log.len(),
        log.flushes().len(),
        log.written(),
        recording.promises.len(),
        recording.promises[0].0
    );
    let mut cases: Vec<(u64, Cut)> =
        only.map_or(0..cuts, |case| case..case + 1).map(|case| (case, recording.cut(case))).collect();
    cases.sort_by_key(|(_, cut)| cut.at);
    let mut disk = Disk::new(log, &folder.join("base"), &folder.join("durable"))?;
    let image = folder.join("image");
    let (mut failed, mut lost, mut promised, mut slowest) = (0, 0, 0, Duration::ZERO);
    for (case, cut) in &cases {
        lost += disk.cut(cut, &image)?;
        promised += usize::from(recording.promise_at(cut).frames() > 0);
        let (wrong, took) = recording.judge_image(&image, cut)?;
        slowest = slowest.max(took);
        if !wrong.is_empty() {
            failed += 1;
            println!("FAIL case {case}, {cut:?}: {}", wrong.join("; "));
            println!("  again: cuts replay {} --seed {seed} --case {case} …", folder.display());
        }
    }
    println!(
        "{} cuts, {promised} of them after an acknowledgement, {lost} writes lost; slowest start {:.2} s: {failed} failed (seed {seed})",
        cases.len(),
        slowest.as_secs_f64()
    );
    for scratch in ["durable", "image"] {
        fs::remove_file(folder.join(scratch))?;
    }
    Ok(failed == 0)
}

fn again(place: &Where, parent: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(&place.folder)?;
    let parent = Where { folder: parent.to_owned(), ingest: place.ingest.clone(), ..*place };
    let recording = Recording::open(&parent, None)?;
    // The first cut that comes late in it.
    let late = recording.promises[recording.promises.len() / 2].0;
    let cut = (0..).map(|case| recording.cut(case)).find(|cut| cut.at > late);
    let cut = cut.context("no cut after a promise")?;
    Disk::new(&recording.log, &parent.folder.join("base"), &parent.folder.join("durable"))?
        .cut(&cut, &place.folder.join("base"))?;
    let before = recording.promise_at(&cut).clone();
    Load { before, ..recording.load }.write(&place.folder)
}

fn main() -> anyhow::Result<ExitCode> {
    let good = match Cli::parse().command {
        Step::Record { recording, number, mounted, disk, seconds, preload } => {
            record(&recording, number, (&mounted, &disk), seconds, preload)?;
            true
        }
        Step::Replay { recording, cuts, case, python } => {
            replay(&Recording::open(&recording, python.as_deref())?, cuts, case)?
        }
        Step::Again { recording, parent } => {
            again(&recording, &parent)?;
            true
        }
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
