//! The power-cut rig's tool: prepares recordings, cuts them, and kills gateways. `benches/power/run` calls it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use benches::power::judge::{Found, Past, Promise, judge};
use benches::power::loads::{LOADS, alone};
use benches::power::log::{Cut, Disk, WriteLog};
use benches::power::look;
use benches::power::mounted::Mounted;
use clap::{Parser, Subcommand};
use fastrand::Rng;

/// How long a gateway may take from its start to its first new promise.
const BOOT: Duration = Duration::from_secs(20);
/// Between looks at what it says.
const LOOK: Duration = Duration::from_millis(10);
/// Longest life of a gateway before it is killed, in milliseconds: long enough for some commits.
const LIFE_MS: u64 = 700;

/// Prepares recordings, cuts them, judges what is left; and kills gateways at random moments.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Write what recording number N starts with.
    Prepare {
        folder: PathBuf,
        #[arg(long)]
        number: usize,
        #[arg(long)]
        seed: u64,
    },
    /// Write what a recording starts with whose disk is one that a cut of another recording left.
    Again {
        folder: PathBuf,
        #[arg(long)]
        parent: PathBuf,
        #[arg(long)]
        seed: u64,
    },
    /// Cut a recording and judge each image; needs root for the loop mount.
    Replay {
        folder: PathBuf,
        #[arg(long, default_value_t = 50)]
        cuts: u64,
        #[arg(long)]
        seed: u64,
        /// Only this one of the cuts.
        #[arg(long)]
        case: Option<u64>,
    },
    /// Tell the entries of a recording that are flushes or notes, and how many there are, for other rigs.
    Notes {
        log: PathBuf,
        /// Where notes lie on the disk, in bytes.
        #[arg(long)]
        place: u64,
    },
    /// Leave in a file what one cut of a recording leaves, for other rigs; tells how many writes were lost.
    Image {
        log: PathBuf,
        base: PathBuf,
        image: PathBuf,
        /// The first entry that never came.
        #[arg(long)]
        at: usize,
        /// Chance that a write after the last flush is lost.
        #[arg(long)]
        loss: f64,
        /// Whether survivors are torn, with the same chance.
        #[arg(long)]
        tear: bool,
        #[arg(long)]
        seed: u64,
    },
    /// kill -9 of one gateway again and again; with ingest at 127.0.0.1:PORT half of its lives are online.
    Kill {
        folder: PathBuf,
        #[arg(long, default_value_t = 500)]
        kills: u64,
        #[arg(long)]
        seed: u64,
    },
}

#[allow(clippy::disallowed_methods)] // the program that drives owns the clock
fn now() -> Instant {
    Instant::now()
}

fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing: build all of gateway and ingest first", path.display());
    Ok(path)
}

/// A value of `load.env`.
fn setting(folder: &Path, name: &str) -> anyhow::Result<u64> {
    let path = folder.join("load.env");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).with_context(|| format!("{name} in {}", path.display()))
}

/// A gateway process; killed when it is dropped.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(config: &Path, log: &Path) -> anyhow::Result<Self> {
        let child = Command::new(sibling("gateway")?)
            .args(["run", "--config"])
            .arg(config)
            .env("RUST_LOG", "info,gateway::durable=debug")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()?;
        Ok(Self { child, log: log.into() })
    }

    fn promised(&self) -> anyhow::Result<Option<Promise>> {
        Ok(look::promised(&fs::read_to_string(&self.log)?))
    }

    /// `kill -9`, and the last promise before it.
    fn kill(mut self) -> anyhow::Result<Option<Promise>> {
        ensure!(self.child.try_wait()?.is_none(), "it ended by itself: {}", fs::read_to_string(&self.log)?);
        self.child.kill()?;
        self.child.wait()?;
        self.promised()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A recording with all that is known of it.
struct Recording {
    folder: PathBuf,
    log: WriteLog,
    /// Promises by entry.
    promises: Vec<(usize, Promise)>,
    /// Where every cut of it begins, without a promise.
    past: Past,
    /// What lay on the disk at first.
    first: Option<Promise>,
    /// What is wrong at the very end, with every write on the disk.
    wrong_at_end: Vec<String>,
}

impl Recording {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let log = WriteLog::open(&folder.join("log"))?;
        let place = setting(folder, "fs_mib")? << 20;
        let notes = log.notes(place)?;
        let promises: Vec<(usize, Promise)> = notes
            .iter()
            .filter_map(|(index, text)| Some((*index, Promise::parse(text.strip_prefix("PROMISE ")?)?)))
            .collect();
        ensure!(!promises.is_empty(), "{}: nothing was promised; see serial", folder.display());

        let (image, at) = (folder.join("image"), folder.join("mnt"));
        fs::copy(folder.join("base"), &image)?;
        let base = look::store(&Mounted::new(&image, &at)?.folder("gateway"))?;
        let mut past = Past { floors: [1; 5], known: base.frames, losses: base.losses, ..Past::default() };
        let mut first = None;
        if let Some(Ok(contents)) = base.inspection.as_ref().map(|inspection| &inspection.store) {
            first = Some(Promise::of(contents));
            for (lane, held) in &contents.lanes {
                past.floors[*lane as usize] = held.floor;
            }
        }
        let store = promises.last().map_or(0, |(_, promise)| promise.store);
        if folder.join("ingest").is_dir() {
            let twice = look::ingest(&folder.join("ingest"), store, &mut past)?;
            ensure!(twice.is_empty(), "{}: {}", folder.display(), twice.join("; "));
        }
        // The last state is what every cut is a beginning of.
        let end = Cut { at: log.len(), loss: 0.0, tear: false, seed: 0 };
        Disk::new(&log, &folder.join("base"), &folder.join("durable"))?.cut(&end, &image)?;
        let last = look::store(&Mounted::new(&image, &at)?.folder("gateway"))?;
        past.promise = promises.last().map(|(_, promise)| *promise);
        let wrong_at_end = judge(&past, &last);
        past.known.extend(last.frames);
        past.promise = None;
        Ok(Self { folder: folder.into(), log, promises, past, first, wrong_at_end })
    }

    fn cut(&self, seed: u64, case: u64) -> Cut {
        Cut::of_case(&self.log, self.promises[0].0, seed, case)
    }

    fn past_at(&self, cut: &Cut) -> Past {
        let before = self.promises.iter().take_while(|(index, _)| *index < cut.at).last();
        Past { promise: before.map(|(_, promise)| *promise).or(self.first), ..self.past.clone() }
    }

    /// What is wrong with an image after a cut: before a start, and after one that has written on. Also whether a start
    /// set aside a store that was half made: nothing was promised yet.
    fn judge_image(&self, image: &Path, cut: &Cut) -> anyhow::Result<(Vec<String>, bool)> {
        let mounted = Mounted::new(image, &self.folder.join("mnt"))?;
        let data = mounted.folder("gateway");
        let past = self.past_at(cut);
        let found = look::store(&data)?;
        let wrong = judge(&past, &found);
        if !wrong.is_empty() {
            return Ok((wrong, false));
        }
        let half_made = found.inspection.as_ref().is_some_and(|inspection| inspection.store.is_err());
        let config = self.folder.join("alone.toml");
        fs::write(&config, alone(&fs::read_to_string(self.folder.join("gateway.toml"))?, &data))?;
        let mut wrong = boot(&config, &self.folder.join("boot.log"), &past, &found)?;
        let mut after = look::store(&data)?;
        let promise = look::promised(&fs::read_to_string(self.folder.join("boot.log"))?);
        let again = match past.promise {
            Some(_) => Past { promise, known: found.frames, ..past },
            None => {
                // Half a store without a promise may be set aside, and a fresh one begun.
                after.inspection.iter_mut().for_each(|inspection| inspection.damaged.clear());
                Past { promise, known: std::collections::BTreeMap::new(), ..past }
            }
        };
        wrong.extend(judge(&again, &after).into_iter().map(|what| format!("after a boot: {what}")));
        Ok((wrong, half_made))
    }
}

/// Starts the real gateway on what a cut left, and waits until it has promised more than was there.
fn boot(config: &Path, log: &Path, past: &Past, found: &Found) -> anyhow::Result<Vec<String>> {
    let had =
        found.inspection.as_ref().and_then(|inspection| inspection.store.as_ref().ok()).map(Promise::of);
    let sum = |promise: &Promise| promise.next.iter().sum::<u64>();
    let least = had.as_ref().filter(|_| past.promise.is_some()).map_or(5, sum);
    let mut running = Running::start(config, log)?;
    let start = now();
    while start.elapsed() < BOOT {
        if running.promised()?.is_some_and(|promise| sum(&promise) > least) {
            running.kill()?;
            return Ok(Vec::new());
        }
        if let Some(status) = running.child.try_wait()? {
            return Ok(vec![format!("the boot failed, {status}: {}", fs::read_to_string(log)?)]);
        }
        thread::sleep(LOOK);
    }
    Ok(vec![format!("booted, but wrote nothing in {} s: {}", BOOT.as_secs(), fs::read_to_string(log)?)])
}

#[allow(clippy::print_stdout)] // the results
fn replay(folder: &Path, cuts: u64, seed: u64, only: Option<u64>) -> anyhow::Result<bool> {
    let recording = Recording::open(folder)?;
    let (log, promises) = (&recording.log, &recording.promises);
    println!(
        "{}: {} entries, {} flushes, {} bytes written, {} promises from entry {} on",
        folder.display(),
        log.len(),
        log.flushes().len(),
        log.written(),
        promises.len(),
        promises[0].0
    );
    let mut cases: Vec<(u64, Cut)> =
        only.map_or(0..cuts, |case| case..case + 1).map(|case| (case, recording.cut(seed, case))).collect();
    cases.sort_by_key(|(_, cut)| cut.at);
    let mut disk = Disk::new(log, &folder.join("base"), &folder.join("durable"))?;
    let image = folder.join("image");
    let (mut failed, mut lost, mut promised, mut half_made) = (0, 0, 0, 0);
    if !recording.wrong_at_end.is_empty() {
        println!("FAIL at the end, with every write on the disk: {}", recording.wrong_at_end.join("; "));
    }
    for (case, cut) in &cases {
        lost += disk.cut(cut, &image)?;
        promised += usize::from(recording.past_at(cut).promise.is_some());
        let (wrong, half) = recording.judge_image(&image, cut)?;
        half_made += usize::from(half);
        if !wrong.is_empty() {
            failed += 1;
            println!("FAIL case {case}, {cut:?}: {}", wrong.join("; "));
            println!("  again: power replay {} --seed {seed} --case {case}", folder.display());
        }
    }
    println!(
        "{} cuts, {promised} of them after a promise, {lost} writes lost; each sound one booted, {half_made} over a store half \
         made: {failed} failed (seed {seed})",
        cases.len()
    );
    for scratch in ["durable", "image"] {
        fs::remove_file(folder.join(scratch))?;
    }
    Ok(failed == 0 && recording.wrong_at_end.is_empty())
}

fn again(folder: &Path, parent: &Path, seed: u64) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let recording = Recording::open(parent)?;
    // The first cut that comes after a promise.
    let cut = (0..).map(|case| recording.cut(seed, case)).find(|cut| cut.at > recording.promises[0].0);
    let cut = cut.context("no cut after a promise")?;
    Disk::new(&recording.log, &parent.join("base"), &parent.join("durable"))?
        .cut(&cut, &folder.join("base"))?;
    for name in ["gateway.toml", "load.env"] {
        fs::copy(parent.join(name), folder.join(name))?;
    }
    fs::write(folder.join("cut"), format!("{cut:?} of {}\n", parent.display()))?;
    Ok(())
}

/// The entries that are flushes or notes, one a line, and how many entries there are.
#[allow(clippy::print_stdout)] // the results
fn notes(log: &Path, place: u64) -> anyhow::Result<()> {
    let log = WriteLog::open(log)?;
    for entry in log.flushes() {
        println!("{entry} flush");
    }
    for (entry, text) in log.notes(place)? {
        println!("{entry} note {text}");
    }
    println!("{} end", log.len());
    Ok(())
}

/// One store through many lives. Even lives find ingest, which the script has started in `folder/ingest`.
#[allow(clippy::print_stdout)] // the results
fn kill(folder: &Path, kills: u64, seed: u64) -> anyhow::Result<bool> {
    let mut random = Rng::with_seed(seed);
    let text = fs::read_to_string(folder.join("gateway.toml"))?;
    let data = folder.join("data");
    let configs = [folder.join("online.toml"), folder.join("alone.toml")];
    fs::write(&configs[1], alone(&text, &data))?;
    let broker = fs::read_to_string(folder.join("broker")).context("the address of ingest")?;
    fs::write(&configs[0], alone(&text, &data).replace("127.0.0.1:1\"", &format!("{}\"", broker.trim())))?;
    let log = folder.join("gateway.log");
    let mut past = Past { floors: [1; 5], ..Past::default() };
    let (mut failed, mut before_promise) = (0, 0);
    for life in 0..kills {
        let running = Running::start(&configs[(life % 2) as usize], &log)?;
        thread::sleep(Duration::from_millis(random.u64(0..LIFE_MS)));
        match running.kill()? {
            Some(promise) => past.promise = Some(promise),
            None => before_promise += 1,
        }
        let found = look::store(&data)?;
        let mut wrong = Vec::new();
        if let Some(promise) = past.promise {
            wrong.extend(look::ingest(&folder.join("ingest"), promise.store, &mut past)?);
        }
        wrong.extend(judge(&past, &found));
        past.losses.extend(&found.losses);
        past.known.extend(found.frames);
        if !wrong.is_empty() {
            failed += 1;
            println!("FAIL life {life}: {}", wrong.join("; "));
        }
    }
    let next = past.promise.map(|promise| promise.next);
    let Some(next) = next else { bail!("nothing was promised in {kills} lives") };
    println!(
        "{kills} kills, {before_promise} of them before the first promise of that life; {} frames with ingest, next \
         numbers {next:?}: {failed} failed (seed {seed})",
        past.taken.len()
    );
    Ok(failed == 0)
}

#[allow(clippy::print_stdout)] // the results
fn main() -> anyhow::Result<ExitCode> {
    let good = match Args::parse().command {
        Step::Prepare { folder, number, seed } => {
            fs::create_dir_all(&folder)?;
            LOADS[number % LOADS.len()].prepare(&folder, seed)?;
            true
        }
        Step::Again { folder, parent, seed } => {
            again(&folder, &parent, seed)?;
            true
        }
        Step::Replay { folder, cuts, seed, case } => replay(&folder, cuts, seed, case)?,
        Step::Notes { log, place } => {
            notes(&log, place)?;
            true
        }
        Step::Image { log, base, image, at, loss, tear, seed } => {
            let log = WriteLog::open(&log)?;
            let cut = Cut { at, loss, tear, seed };
            let lost = Disk::new(&log, &base, &image.with_extension("durable"))?.cut(&cut, &image)?;
            println!("{lost}");
            true
        }
        Step::Kill { folder, kills, seed } => kill(&folder, kills, seed)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
