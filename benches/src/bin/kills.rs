//! `kill -9` of ingest and of gateways in full flow, a long stop of ingest under load, then the audit.
//!
//! Everything runs as in the one command, in processes of its own. The moments are random and seeded. At the end
//! all is drained and stopped cleanly, and `audit` must find 0 lost and 0 doubled.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use benches::city::SEED;
use benches::http;
use benches::layout::{self, Plan};
use benches::live::Live;
use benches::order::{self, AlarmOrder};
use benches::pool;
use benches::supervise::{self, Job, Worker};
use clap::Parser;
use fastrand::Rng;
use gateway::status::Status;

/// How long ingest may take to answer, and the backlog to drain.
const READY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(120);
/// A status older than this is of a gateway that stands still, in milliseconds: it is written every 5 s. A shorter one
/// could never hold for three gateways at once whose turns lie apart.
const FRESH_MS: i64 = 8000;
/// Frames that a gateway in calm may have on their way.
const CALM_FRAMES: u64 = 2;
/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(25);
/// Between two kills, in milliseconds: long enough for traffic, short enough to hit recovery too.
const BETWEEN_MS: std::ops::Range<u64> = 100..2500;
/// How long a killed process stays down, in milliseconds.
const DOWN_MS: std::ops::Range<u64> = 0..400;
/// Parquet is written often and merged at once, so that kills hit both as well.
const INGEST_EXTRA: &str = "\n[pool]\nparquet_every = \"500ms\"\nparquet_rows = 100000\nwindows_every = \"1s\"\n\
                            compact_core_percent = 100\ncompact_per_second = \"64 MiB\"\n";
/// Hours before now at which the synthetic load begins: at full speed a second of it is half an hour.
const LOAD_HOURS_AGO: u32 = 24 * 30;

/// Kills ingest and gateways at random moments and proves that nothing was lost or doubled.
#[derive(Parser)]
struct Args {
    /// Folder for the run; must be new.
    #[arg(long)]
    data: PathBuf,
    /// Kills of ingest, and as many of gateways.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// Seconds for which ingest is stopped under load; 0 leaves that part out.
    #[arg(long, default_value_t = 20)]
    outage: u64,
    /// Simulated gateways.
    #[arg(long, default_value_t = 4)]
    gateways: usize,
    /// Sensors of all simulated gateways together.
    #[arg(long, default_value_t = 200)]
    sensors: usize,
    /// Simulated seconds per second; fires and floods come so much sooner.
    #[arg(long, default_value_t = 4.0)]
    speed: f64,
    /// Readings a second from synthetic gateways beside the simulated ones, so that every kill hits a full flow.
    #[arg(long, default_value_t = 20_000)]
    load: u64,
    /// The synthetic load comes as fast as it is taken, and sends again what was not acknowledged.
    #[arg(long)]
    full_speed: bool,
    /// Seed of the moments.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

#[allow(clippy::disallowed_methods)] // the program that drives owns the clock
fn now() -> Instant {
    Instant::now()
}

fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing: build all of benches first", path.display());
    Ok(path)
}

fn pause(random: &mut Rng, range: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(random.u64(range)));
}

fn wait_ready(ingest: &mut Worker, server: SocketAddr) -> anyhow::Result<Duration> {
    let start = now();
    while !http::answers(server) {
        if let Some(event) = ingest.tend(now()) {
            bail!("ingest ended by itself: {event:?}; see {}", ingest.job.log.display());
        }
        ensure!(start.elapsed() < READY, "ingest does not answer; see {}", ingest.job.log.display());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(start.elapsed())
}

/// What keeps a gateway from being calm, if anything: it must be connected and have no more waiting than what it is just
/// gathering, and have said so after `since_ms`. The gateway itself is asked, because ingest only knows what it was told
/// last.
fn unrest(plan: &Plan, gateway: &Worker, since_ms: i64) -> Option<String> {
    let name = &gateway.job.name;
    let status = match Status::read(&plan.gateway_folder(name)) {
        Ok(status) => status,
        Err(error) => return Some(format!("{name} has no status: {error}")),
    };
    if gateway.pid() != Some(status.pid) {
        return Some(format!("{name} has not spoken since its start; see {}", gateway.job.log.display()));
    }
    let waiting: u64 = status.backlog.iter().map(|(_, frames)| frames).sum();
    let age_ms = order::now_ms() - status.written_ms;
    let is_fresh = age_ms < FRESH_MS && status.written_ms >= since_ms;
    let is_calm = is_fresh && status.online && waiting <= CALM_FRAMES;
    (!is_calm).then(|| {
        format!(
            "{name} spoke {age_ms} ms ago, online {} ({}), {waiting} frames wait {:?}, {} durable, {} refused, \
             oldest {} ms; see {}",
            status.online,
            status.trouble,
            status.backlog,
            status.durable,
            status.refused,
            status.oldest_unacked_ms,
            gateway.job.log.display()
        )
    })
}

/// Waits until every gateway is calm.
fn drain(plan: &Plan, gateways: &[Worker]) -> anyhow::Result<Duration> {
    let (start, since_ms) = (now(), order::now_ms());
    loop {
        let restless: Vec<_> =
            gateways.iter().filter_map(|gateway| unrest(plan, gateway, since_ms)).collect();
        if restless.is_empty() {
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < DRAIN,
            "the backlog did not drain in {} s:\n{}",
            DRAIN.as_secs(),
            restless.join("\n")
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// The synthetic load as a process: it runs until told to stop, and leaves word of what it sent.
fn load_job(plan: &Plan, args: &Args) -> anyhow::Result<Job> {
    let arguments = [
        format!("--mqtt={}", plan.mqtt),
        format!("--rate={}", if args.full_speed { 0 } else { args.load }),
        format!("--start-hours-ago={LOAD_HOURS_AGO}"),
        format!("--seed={}", args.seed),
        format!("--ledger={}", plan.data.join("load.ledger").display()),
        "--until-told".into(),
    ];
    let log = plan.data.join("logs").join("load.log");
    Ok(Job { name: "load".into(), program: sibling("load")?, arguments: arguments.into(), log })
}

struct Rig {
    plan: Plan,
    ingest: [Worker; 1],
    gateways: Vec<Worker>,
    load: Vec<Worker>,
    random: Rng,
}

impl Rig {
    fn start(args: &Args) -> anyhow::Result<Self> {
        ensure!(!args.data.exists(), "{} exists: name a new folder with --data", args.data.display());
        ensure!(args.gateways >= 1, "--gateways 0: nothing to kill");
        let any = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let plan = Plan {
            data: args.data.clone(),
            http: layout::choose(any, 0)?.0,
            mqtt: layout::choose(any, 0)?.0,
            gateways: args.gateways,
            sensors: args.sensors,
            seed: args.seed,
            speed: args.speed,
            this_machine: true,
        };
        plan.write(INGEST_EXTRA)?;
        let program = sibling("watchfire")?;
        let mut ingest = [Worker::new(plan.ingest_job(&program))];
        let gateways = plan.gateway_names();
        let mut gateways: Vec<Worker> =
            gateways.iter().map(|name| Worker::new(plan.gateway_job(&program, name))).collect();
        ingest[0].start(now())?;
        wait_ready(&mut ingest[0], plan.http)?;
        for gateway in &mut gateways {
            gateway.start(now())?;
        }
        let mut load = Vec::new();
        if args.load > 0 || args.full_speed {
            let mut worker = Worker::new(load_job(&plan, args)?);
            worker.start(now())?;
            load.push(worker);
        }
        Ok(Self { plan, ingest, gateways, load, random: Rng::with_seed(args.seed) })
    }

    /// Ends the synthetic load, which waits until everything it sent was acknowledged.
    fn end_load(&mut self) -> anyhow::Result<()> {
        let stuck = supervise::stop(&mut self.load, DRAIN);
        ensure!(stuck.is_empty(), "the load was not acknowledged in {} s", DRAIN.as_secs());
        // It leaves word only after everything was acknowledged.
        let ledger = self.plan.data.join("load.ledger");
        ensure!(self.load.is_empty() || ledger.exists(), "the load failed; see logs/load.log");
        Ok(())
    }

    /// Ingest dies `kills` times; sometimes again before it has recovered. Gives how long recoveries took, and how many
    /// files had been merged away.
    fn kill_ingest(&mut self, kills: u32) -> anyhow::Result<(Vec<Duration>, usize)> {
        let pool = self.plan.ingest_folder().join("pool");
        let (mut recoveries, mut merged) = (Vec::new(), BTreeSet::new());
        for _ in 0..kills {
            pause(&mut self.random, BETWEEN_MS);
            self.ingest[0].kill();
            merged.extend(pool::age(&pool)?);
            pause(&mut self.random, DOWN_MS);
            self.ingest[0].start(now())?;
            if self.random.u8(0..4) > 0 {
                recoveries.push(wait_ready(&mut self.ingest[0], self.plan.http)?);
            }
        }
        wait_ready(&mut self.ingest[0], self.plan.http)?;
        recoveries.sort();
        Ok((recoveries, merged.len()))
    }

    fn kill_gateways(&mut self, kills: u32) -> anyhow::Result<()> {
        for _ in 0..kills {
            pause(&mut self.random, BETWEEN_MS);
            let number = self.random.usize(0..self.gateways.len());
            self.gateways[number].kill();
            pause(&mut self.random, DOWN_MS);
            self.gateways[number].start(now())?;
        }
        Ok(())
    }

    /// Ingest is gone for a while; gives how its backlog came in afterwards.
    fn outage(&mut self, seconds: u64) -> anyhow::Result<(AlarmOrder, Duration)> {
        let folder = self.plan.ingest_folder().join("log");
        let stuck = supervise::stop(&mut self.ingest, STOP);
        ensure!(stuck.is_empty(), "ingest did not stop in {} s", STOP.as_secs());
        let from = order::end_of_log(&folder)?;
        thread::sleep(Duration::from_secs(seconds));
        let up_ms = order::now_ms();
        self.ingest[0].start(now())?;
        wait_ready(&mut self.ingest[0], self.plan.http)?;
        let drained = drain(&self.plan, &self.gateways)?;
        Ok((order::of_alarms(&folder, &self.plan.gateway_names(), from, up_ms)?, drained))
    }
}

#[allow(clippy::print_stdout)] // the results
fn run(args: &Args) -> anyhow::Result<bool> {
    let mut rig = Rig::start(args)?;
    println!("seed {} · data {}", args.seed, rig.plan.data.display());
    // Some traffic, and no alarm yet: fires start within seconds.
    thread::sleep(Duration::from_millis(1500));
    let mut good = true;
    if args.outage > 0 {
        let (order, drained) = rig.outage(args.outage)?;
        println!(
            "ingest away for {} s, then drained in {:.1} s; {order}",
            args.outage,
            drained.as_secs_f64()
        );
        good &= order.is_alarms_first();
    }
    let (recoveries, merged) = rig.kill_ingest(args.kills)?;
    let seconds = |at: usize| recoveries.get(at).map_or(0.0, Duration::as_secs_f64);
    println!(
        "ingest killed {} times, while it merged {merged} files; recovery p50 {:.2} s, slowest {:.2} s",
        args.kills,
        seconds(recoveries.len() / 2),
        seconds(recoveries.len().saturating_sub(1))
    );
    rig.kill_gateways(args.kills)?;
    println!("gateways killed {} times", args.kills);
    rig.end_load()?;
    let drained = drain(&rig.plan, &rig.gateways)?;
    let live = Live::ask(rig.plan.http, None, 1.0)?;
    println!("drained in {:.1} s: {live}", drained.as_secs_f64());
    let mut stuck = supervise::stop(&mut rig.gateways, STOP);
    stuck.extend(supervise::stop(&mut rig.ingest, STOP));
    ensure!(stuck.is_empty(), "did not stop in {} s: {}", STOP.as_secs(), stuck.join(", "));
    Ok(good & audit(&rig.plan.data)?)
}

/// Runs the audit as a person would.
fn audit(data: &Path) -> anyhow::Result<bool> {
    let status = Command::new(sibling("audit")?).arg(data).status().context("the audit could not be run")?;
    Ok(status.success())
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    Ok(if run(&args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
