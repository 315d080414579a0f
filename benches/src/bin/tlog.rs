//! The log of seals at its limits, and logs for others to check.
//!
//! `measure` fills a log, then proves, reopens and forks it; `grow` makes a small one under the eyes of a real witness and lays
//! it out as a web server would serve it: `benches/seal/check_tlog`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use benches::city::SEED;
use benches::process::rss_bytes;
use benches::table::Table;
use clap::{Parser, Subcommand};
use ingest::client::request;
use ingest::http::serve_witness;
use ingest::tlog::keyfile::{KeyRole, load, make};
use ingest::tlog::{Folder, Rounds, Storage, Tlog, WitnessAt, WitnessUrl};
use ingest::witness::{Submission, Witness};
use seal::keys::{MemoryKey, Signer as _};
use seal::note::NoteKey;
use seal::proof::{LogTrust, Proof};

/// Name of the log.
const ORIGIN: &str = "bench.example/seals";
/// Leaves are signed envelopes: so many bytes.
const LEAF_BYTES: std::ops::RangeInclusive<usize> = 300..=1200;
/// Groups that are measured, with the share of all leaves that is appended so: a lone leaf costs a sync each.
const GROUPS: [(usize, u64); 3] = [(1, 500), (64, 10), (1024, 1)];
/// Proofs that are timed.
const PROOFS: usize = 10_000;
/// How long witnesses may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fills, measures and forks the log of seals.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fill a log and print what it costs.
    Measure {
        /// Leaves.
        #[arg(long, default_value_t = 10_000_000)]
        leaves: u64,
        /// Seconds after which no more are appended.
        #[arg(long, default_value_t = 480)]
        seconds: u64,
        /// Folder for the log; removed at the end.
        #[arg(long, default_value = "tlog.tmp")]
        data: PathBuf,
    },
    /// Print the verifier of the log that `grow` makes.
    Verifier,
    /// Append leaves in groups of any size, have each group cosigned, and lay the log out as files.
    Grow {
        /// How many.
        #[arg(long, default_value_t = 3000)]
        leaves: u64,
        /// What the leaves are made from: another one makes a fork.
        #[arg(long, default_value_t = SEED)]
        seed: u64,
        /// Where the witness answers.
        #[arg(long, value_parser = WitnessUrl::parse)]
        witness: WitnessUrl,
        /// Its verifier.
        #[arg(long, value_parser = witness_key)]
        witness_key: NoteKey,
        /// Folder of the log.
        #[arg(long)]
        data: PathBuf,
        /// Folder for the files.
        #[arg(long)]
        export: PathBuf,
    },
}

fn witness_key(text: &str) -> Result<NoteKey, String> {
    NoteKey::parse_witness_verifier(text).ok_or_else(|| format!("{text:?} is not the verifier of a witness"))
}

/// A key that everybody may know.
fn key() -> MemoryKey {
    MemoryKey::from_secret(&[7; 32])
}

fn log_key() -> NoteKey {
    NoteKey { name: ORIGIN.into(), key: key().public() }
}

/// A folder that counts syncs.
struct Counting {
    folder: Folder,
    syncs: Arc<AtomicU64>,
}

impl Storage for Counting {
    type Lock = <Folder as Storage>::Lock;

    fn lock(&self) -> std::io::Result<Self::Lock> {
        self.folder.lock()
    }

    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        self.folder.read(name)
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.folder.write(name, offset, bytes)
    }

    fn clear(&self, name: &str) -> std::io::Result<()> {
        self.folder.clear(name)
    }

    fn sync(&self, name: &str) -> std::io::Result<()> {
        self.syncs.fetch_add(1, Relaxed);
        self.folder.sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.folder.rename(from, to)
    }

    fn make_folder(&self, name: &str) -> std::io::Result<()> {
        self.folder.make_folder(name)
    }

    fn sync_folder(&self, name: &str) -> std::io::Result<()> {
        self.syncs.fetch_add(1, Relaxed);
        self.folder.sync_folder(name)
    }
}

/// Random leaves, the same for the same seed.
struct Leaves(fastrand::Rng);

impl Leaves {
    fn group(&mut self, count: usize) -> Vec<Vec<u8>> {
        let rng = &mut self.0;
        let leaf = |_| {
            let mut leaf = vec![0; rng.usize(LEAF_BYTES)];
            rng.fill(&mut leaf);
            leaf
        };
        (0..count).map(leaf).collect()
    }
}

fn append<S: Storage>(log: &mut Tlog<S>, leaves: &[Vec<u8>]) -> anyhow::Result<u64> {
    let leaves: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
    Ok(log.append(&leaves)?)
}

/// Bytes that a folder takes on its disk, with what its files waste.
fn disk_bytes(folder: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let own = path.metadata()?.blocks() * 512;
        bytes += own + if path.is_dir() { disk_bytes(&path)? } else { 0 };
    }
    Ok(bytes)
}

#[allow(clippy::print_stdout, clippy::disallowed_methods)] // the results; and clocks are what this is about
fn measure(leaves: u64, seconds: u64, data: &Path) -> anyhow::Result<()> {
    ensure!(!data.exists(), "{}: exists already; choose a new folder", data.display());
    let syncs = Arc::new(AtomicU64::new(0));
    let open = || {
        let folder = Counting { folder: Folder::open(data)?, syncs: syncs.clone() };
        Ok::<_, anyhow::Error>(Tlog::open(folder, ORIGIN, Box::new(key()))?)
    };
    let mut log = open()?;
    let (tiles, mut made) = (log.tiles(), Leaves(fastrand::Rng::with_seed(SEED)));
    let (begun, mut raw) = (Instant::now(), 0);
    let mut table = Table::new(&[
        "group",
        "leaves",
        "leaves/s",
        "groups/s",
        "syncs a group",
        "p50 ms",
        "p99 ms",
        "worst ms",
    ]);
    for (group, share) in GROUPS {
        let until = if share == 1 { leaves } else { tiles.size() + leaves / share };
        let (first, mut times) = (tiles.size(), Vec::new());
        let before = syncs.load(Relaxed);
        while tiles.size() < until && begun.elapsed().as_secs() < seconds {
            let count = group.min((until - tiles.size()) as usize);
            let leaves = made.group(count);
            raw += leaves.iter().map(Vec::len).sum::<usize>();
            let from = Instant::now();
            append(&mut log, &leaves)?;
            times.push(from.elapsed());
        }
        let spent: Duration = times.iter().sum();
        let synced = syncs.load(Relaxed) - before;
        times.sort_unstable();
        let at = |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, ms);
        let worst = times.last().copied().unwrap_or_default();
        table.row(vec![
            group.to_string(),
            (tiles.size() - first).to_string(),
            format!("{:.0}", (tiles.size() - first) as f64 / spent.as_secs_f64()),
            format!("{:.0}", times.len() as f64 / spent.as_secs_f64()),
            format!("{:.2}", synced as f64 / times.len() as f64),
            format!("{:.2}", at(0.5)),
            format!("{:.2}", at(0.99)),
            format!("{:.1}", ms(&worst)),
        ]);
    }
    println!("{}", table.text());
    let size = tiles.size();
    let bytes = disk_bytes(data)?;
    println!(
        "{size} leaves: {:.1} bytes of leaf, {:.1} bytes on disk each; {:.1} MB in memory",
        raw as f64 / size as f64,
        bytes as f64 / size as f64,
        rss_bytes(std::process::id()).unwrap_or(0) as f64 / 1e6
    );
    drop((log, tiles));
    let from = Instant::now();
    let log = open()?;
    println!("opened again in {:.0} ms", ms(&from.elapsed()));
    prove(&log)?;
    drop(log);
    fork(&data.join("fork"))?;
    fs::remove_dir_all(data)?;
    Ok(())
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Times proofs of random leaves, each of which is verified.
#[allow(clippy::print_stdout, clippy::disallowed_methods)]
fn prove<S: Storage>(log: &Tlog<S>) -> anyhow::Result<()> {
    let (tiles, mut rng) = (log.tiles(), fastrand::Rng::with_seed(SEED));
    let (note, size) = (tiles.newest(), tiles.size());
    // A proof wants a witness; the log's own signature and path are what is looked at here.
    let trust = LogTrust { log: log_key(), witnesses: Vec::new(), needed: 1 };
    let (mut times, mut longest) = (Vec::new(), 0);
    for _ in 0..PROOFS {
        let index = rng.u64(..size);
        let from = Instant::now();
        let text = tiles.proof(index, &note)?;
        times.push(from.elapsed());
        longest = longest.max(text.len());
        let found = Proof::parse(text.as_bytes())
            .map(|proof| proof.verify(&tiles.leaf(index)?, &trust).err().context("it proves"));
        ensure!(matches!(found, Ok(Ok(seal::proof::ProofError::Witnesses))), "leaf {index}: {found:?}");
    }
    times.sort_unstable();
    let at = |part: usize| ms(&times[(times.len() - 1) * part / 100]);
    println!(
        "proof of inclusion: p50 {:.3} ms, p99 {:.3} ms, worst {:.3} ms, at most {longest} bytes",
        at(50),
        at(99),
        at(100)
    );
    let mut times = Vec::new();
    for _ in 0..PROOFS / 10 {
        let before = rng.u64(1..size);
        let from = Instant::now();
        tiles.consistency(before, size)?;
        times.push(from.elapsed());
    }
    times.sort_unstable();
    println!(
        "proof of growth:    p50 {:.3} ms, p99 {:.3} ms",
        ms(&times[times.len() / 2]),
        ms(&times[times.len() * 99 / 100])
    );
    Ok(())
}

/// A witness over HTTP sees a log, then a fork of it.
#[allow(clippy::print_stdout)]
fn fork(data: &Path) -> anyhow::Result<()> {
    let path = data.join("w.key");
    fs::create_dir_all(data)?;
    make(&path, "witness.example", KeyRole::Witness)?;
    let witness =
        Witness::open(Folder::open(&data.join("w"))?, load(&path, KeyRole::Witness)?, vec![log_key()])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let addr = listener.local_addr()?;
    runtime.spawn(serve_witness(listener, witness, std::future::pending()));
    let show = |what: &str, log: &Tlog, old: u64| -> anyhow::Result<()> {
        let (tiles, size) = (log.tiles(), log.tiles().size());
        let body = Submission { old, proof: tiles.consistency(old, size)?, note: &tiles.newest() }.text();
        let answer = request(addr, "POST", "/add-checkpoint", Some(("text/plain", body.as_bytes())))?;
        let said = String::from_utf8_lossy(&answer.body);
        println!("  {what}, {old} to {size} leaves: {} {}", answer.status, said.trim_end());
        Ok(())
    };
    println!("\nwitness:");
    let mut logs = Vec::new();
    for seed in [1, 2] {
        let mut log = Tlog::open(Folder::open(&data.join(seed.to_string()))?, ORIGIN, Box::new(key()))?;
        let mut leaves = Leaves(fastrand::Rng::with_seed(SEED));
        append(&mut log, &leaves.group(500))?;
        append(&mut log, &Leaves(fastrand::Rng::with_seed(seed)).group(1))?;
        append(&mut log, &leaves.group(499))?;
        logs.push(log);
    }
    let [log, forked] = &mut logs[..] else { unreachable!("two logs") };
    show("the log", log, 0)?;
    show("a fork, one leaf altered", forked, 1000)?;
    append(log, &[b"more".to_vec()])?;
    append(forked, &[b"more".to_vec()])?;
    show("the fork, grown", forked, 1000)?;
    show("the log, grown", log, 1000)
}

#[allow(clippy::print_stdout)]
fn grow(leaves: u64, seed: u64, at: WitnessAt, data: &Path, export: &Path) -> anyhow::Result<()> {
    let mut log = Tlog::open(Folder::open(data)?, ORIGIN, Box::new(key()))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let rounds = runtime.block_on(async { Rounds::start(&log, vec![at], 1) });
    let (tiles, mut made) = (log.tiles(), Leaves(fastrand::Rng::with_seed(seed)));
    let mut cosigned = rounds.cosigned();
    while tiles.size() < leaves {
        let count = made.0.u64(1..=200).min(leaves - tiles.size());
        append(&mut log, &made.group(count as usize))?;
        let size = tiles.size();
        let seen = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, cosigned.wait_for(|cosigned| cosigned.size == size)).await
        });
        seen.context("the witness did not cosign")??;
    }
    let exported = tiles.export(export)?;
    println!("{exported} leaves, each group of them cosigned, are in {}", export.display());
    Ok(())
}

#[allow(clippy::print_stdout)]
fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Args::parse().command {
        Command::Measure { leaves, seconds, data } => measure(leaves, seconds, &data),
        Command::Verifier => {
            println!("{}", log_key().log_verifier());
            Ok(())
        }
        Command::Grow { leaves, seed, witness, witness_key, data, export } => {
            grow(leaves, seed, WitnessAt { url: witness, key: witness_key }, &data, &export)
        }
    }
}
